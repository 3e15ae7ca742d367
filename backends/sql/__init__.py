"""The SQL backend: MLflow's schema on SQLAlchemy Core, one module per aggregate.

`dialect` holds what differs between databases, `database` runs transactions, `schema` has the tables; `experiments`,
`runs`, `metrics`, `inputs` and `search` hold statements and rows of one aggregate each; `store` composes them into a
`BackendStore`; `sqlite` opens SQLite files.
"""
