"""Backend stores: where experiments, runs and what they log are kept.

Open one by its URI with `holdall.stores.open_backend_store`; this package imports nothing until then.
"""
