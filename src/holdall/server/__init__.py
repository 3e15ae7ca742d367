"""The tracking server: MLflow's REST API over any store."""

from holdall.server.application import Application
from holdall.server.options import ServerOptions

__all__ = ["Application", "ServerOptions"]
