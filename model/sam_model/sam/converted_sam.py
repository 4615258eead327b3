"""Image encoder and mask decoder of one model, run by OpenVINO as soon as they are converted."""

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from sam_model.runtime.converted_network import ConvertedNetwork, Example
from sam_model.sam.network import Features, SamNetwork


class EncoderModule(nn.Module):
    """`SamNetwork.encode` as a module with a flat output."""

    def __init__(self, network: SamNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map normalised pixels (1, 3, image_size, image_size) to the image embedding and the further maps."""
        features, details = self.network.encode(pixels)
        return (features, *details)


class DecoderModule(nn.Module):
    """The mask decoder with a fixed number of masks."""

    def __init__(self, decoder: nn.Module, multimask: bool) -> None:
        super().__init__()
        self.decoder, self.multimask = decoder, multimask

    def forward(
        self, image: Tensor, positions: Tensor, tokens: Tensor, mask_map: Tensor, *details: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map what `MaskDecoder.forward` takes to logits and predicted IoU."""
        logits, iou = self.decoder(image, positions, tokens, mask_map, self.multimask, details)
        return logits, iou


class ConvertedSam:
    """The networks of a model with float32 weights on the CPU. Threads may share it."""

    def __init__(self, model: SamNetwork, name: str, digest: str, dtype: str, folder: Path) -> None:
        """Read the converted image encoder, or start its conversion; the decoder follows with the first prompt.

        Args:
            model: the networks.
            name: of the model, for the names of files.
            digest: of the weights.
            dtype: of the image encoder, `float32` or `bfloat16`. The decoder is in float32: in bfloat16 its predicted
                IoU ranks similar candidates differently.
            folder: of the converted networks.
        """
        self._model, self._name, self._digest, self._folder = model, name, digest, folder
        self._lock = threading.Lock()
        self._decoders: dict[bool, ConvertedNetwork] = {}
        noise = torch.Generator().manual_seed(0)
        pixels = Example(torch.randn(1, 3, model.image_size, model.image_size, generator=noise))
        self._encoder = self._converted(EncoderModule(model), [pixels], "encoder", dtype)

    def encode(self, pixels: Tensor) -> Features:
        """Compute what `SamNetwork.encode` does, of one image (1, 3, image_size, image_size)."""
        features, *details = self._encoder(pixels)
        return features, tuple(details)

    def decode(
        self,
        image: Tensor,
        positions: Tensor,
        tokens: Tensor,
        mask_map: Tensor,
        multimask: bool,
        details: tuple[Tensor, ...] = (),
    ) -> tuple[Tensor, Tensor]:
        """Compute what `MaskDecoder.forward` does, of P prompts; with own mask maps they are decoded one by one."""
        decoder = self._decoder(multimask, (image, positions, tokens[:1], mask_map[:1], *details))
        if len(mask_map) == 1:
            logits, iou = decoder(image, positions, tokens, mask_map, *details)
            return logits, iou
        pairs = [
            decoder(image, positions, token[None], one[None], *details)
            for token, one in zip(tokens, mask_map, strict=True)
        ]
        return torch.cat([logits for logits, _ in pairs]), torch.cat([iou for _, iou in pairs])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the conversions that have started have ended; return whether OpenVINO runs all networks."""
        networks = [self._encoder, *self._decoders.values()]
        return all(network.wait(timeout_s) for network in networks)

    def _decoder(self, multimask: bool, inputs: tuple[Tensor, ...]) -> ConvertedNetwork:
        with self._lock:
            if multimask not in self._decoders:
                image, positions, tokens, mask_map, *details = (x.clone() for x in inputs)
                pair = tokens.expand(2, -1, -1).contiguous()  # several prompts with one image: the general case
                examples = [
                    Example(image),
                    Example(positions),
                    Example(pair, varying=(0, 1)),
                    Example(mask_map[..., :1, :1].contiguous(), varying=(2, 3)),
                    *map(Example, details),
                ]
                module = DecoderModule(self._model.mask_decoder, multimask)
                name = "decoder-3" if multimask else "decoder-1"
                self._decoders[multimask] = self._converted(module, examples, name, "float32")
            return self._decoders[multimask]

    def _converted(self, module: nn.Module, examples: list[Example], part: str, dtype: str) -> ConvertedNetwork:
        return ConvertedNetwork(module, examples, f"{self._name}-{part}", self._digest, dtype, self._folder)
