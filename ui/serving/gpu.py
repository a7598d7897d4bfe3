"""ZeroGPU, Hugging Face's GPUs that a Space borrows for a moment: used where it is there."""

try:
    import spaces
except ImportError:  # everywhere else
    IS_ZERO_GPU = False

    def on_gpu(handler):
        """The function that answers a request, as it is."""
        return handler

else:
    IS_ZERO_GPU = True
    SECONDS = 20  # of GPU time that a request may take: short ones are let in first
    on_gpu = spaces.GPU(duration=SECONDS)
