"""`http://` and `https://`: a tracking server's REST API, ours or MLflow's, as a backend store."""
