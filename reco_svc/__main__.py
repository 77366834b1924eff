"""`python -m reco_svc`."""

from mesh.app import run_service
from reco_svc.bootstrap import NAME, bootstrap
from reco_svc.settings import RecoSettings

if __name__ == "__main__":
    run_service(NAME, RecoSettings, bootstrap)
