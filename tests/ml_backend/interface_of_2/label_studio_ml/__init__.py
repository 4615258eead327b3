"""The interface of label-studio-ml 2.x, which is on no registry: what a model and its server have of each other.

Written from what HumanSignal/label-studio-ml-backend does @ 010cc2ab (model.py), 54a42057 (response.py) and 5c12977f
(api.py); `ModelResponse` holds the PredictionValue of the real label-studio-sdk, as there.
"""
