"""Set before torch, gradio and huggingface_hub are imported: they read these once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are slow when threads contend
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for the network fails at once
