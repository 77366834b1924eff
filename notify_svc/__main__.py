"""`python -m notify_svc`."""

from mesh.app import run_service
from notify_svc.bootstrap import NAME, bootstrap
from notify_svc.settings import NotifySettings

if __name__ == "__main__":
    run_service(NAME, NotifySettings, bootstrap)
