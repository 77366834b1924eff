"""`python -m user_svc`."""

from mesh.app import run_service
from user_svc.bootstrap import NAME, bootstrap
from user_svc.settings import UserSettings

if __name__ == "__main__":
    run_service(NAME, UserSettings, bootstrap)
