"""Who calls, and what they may do: tokens, their keys, and the rules of the contracts."""
