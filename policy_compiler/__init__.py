"""Compiles the policies of the contracts into everything that acts on them.

Run `python -m policy_compiler`; README.md beside this file describes what it writes.
"""
