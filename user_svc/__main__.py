"""`python -m user_svc`."""

from mesh.app import run_service
from mesh.settings import MeshSettings
from user_svc.bootstrap import NAME, bootstrap

if __name__ == "__main__":
    run_service(NAME, MeshSettings, bootstrap)
