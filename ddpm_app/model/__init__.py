"""Networks and what stands around them: the UNet and its average, codecs (pixels, VAE), conditioning (nothing, labels, words)."""

from ddpm_app.model.unet import build_unet, count_parameters, make_ema, unet_of, use_plain_attention

__all__ = ["build_unet", "count_parameters", "make_ema", "unet_of", "use_plain_attention"]
