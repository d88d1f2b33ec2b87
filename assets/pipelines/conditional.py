"""Draws pictures of a label, or of words in pixels, with plain diffusers:

pipeline = DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder + "/pipeline.py", trust_remote_code=True)
pipeline(labels=[0, 3], guidance_scale=3).images
"""

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput


class ConditionalPipeline(DiffusionPipeline):
    """Classifier-free guidance (arXiv 2207.12598) for a UNet2DModel with class embeddings or a UNet2DConditionModel, in pixels
    or, with a ``vae``, in latents. ``id2label``: the names of the labels; the class embedding's last row stands for none."""

    _optional_components = ["vae", "text_encoder", "tokenizer"]

    def __init__(self, unet, scheduler, vae=None, text_encoder=None, tokenizer=None, id2label=None):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer)
        self.register_to_config(id2label=id2label)

    @torch.no_grad()
    def __call__(
        self,
        prompt=None,
        labels=None,
        negative_prompt="",
        guidance_scale=3.0,
        num_inference_steps=50,
        generator=None,
        latents=None,
    ):
        """One picture per text of ``prompt``, or per number or name in ``labels``. ``latents``: the noise to start from."""
        asked, blank = self._words(prompt, negative_prompt) if self.tokenizer is not None else self._labels(labels)
        count = len(asked[1])
        side = self.unet.config.sample_size
        if latents is None:
            latents = torch.randn((count, self.unet.config.in_channels, side, side), generator=generator).to(
                self.device
            )
        x = latents
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        name = asked[0]
        for t in self.progress_bar(self.scheduler.timesteps):
            if guidance_scale == 1:
                output = self.unet(x, t, **{name: asked[1]}).sample
            else:
                plain, wanted = self.unet(torch.cat([x, x]), t, **{name: torch.cat([blank[1], asked[1]])}).sample.chunk(
                    2
                )
                output = plain + guidance_scale * (wanted - plain)
            x = self.scheduler.step(output, t, x).prev_sample
        if self.vae is not None:
            x = self.vae.decode(x / self.vae.config.scaling_factor).sample
        pictures = (x / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
        return ImagePipelineOutput(images=self.numpy_to_pil(pictures))

    def _labels(self, labels):
        names = [self.config.id2label[str(k)] for k in range(len(self.config.id2label))]
        numbers = [
            names.index(label) if isinstance(label, str) else int(label)
            for label in (range(len(names)) if labels is None else labels)
        ]
        asked = torch.tensor(numbers, device=self.device)
        return ("class_labels", asked), ("class_labels", torch.full_like(asked, len(names)))

    def _words(self, prompt, negative_prompt):
        texts = [prompt] if isinstance(prompt, str) else list(prompt)

        def embed(some):
            longest = min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)
            tokens = self.tokenizer(
                some, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
            )
            return self.text_encoder(tokens.input_ids.to(self.device))[0]

        return ("encoder_hidden_states", embed(texts)), ("encoder_hidden_states", embed([negative_prompt] * len(texts)))
