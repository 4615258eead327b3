"""Image encoder and mask decoder of one model, run by OpenVINO as soon as they are converted."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sam_model.runtime.converted_network import ConvertedNetwork, Example
from sam_model.sam.mask_decoder import MaskDecoder
from sam_model.sam.network import Features, SamNetwork
from sam_model.sam.two_way_transformer import ImageParts


class EncoderModule(nn.Module):
    """`SamNetwork.encode` as a module with a flat output."""

    def __init__(self, network: SamNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map normalised pixels (1, 3, image_size, image_size) to the image embedding and the further maps."""
        features, details = self.network.encode(pixels)
        return (features, *details)


class PrepareModule(nn.Module):
    """`MaskDecoder.prepare` as a module."""

    def __init__(self, decoder: MaskDecoder, positions: Tensor) -> None:
        super().__init__()
        self.decoder, self.positions = decoder, positions

    def forward(self, image: Tensor, mask_map: Tensor) -> ImageParts:
        """Map the image embedding (1, C, grid, grid) and what is added to it to what all its prompts share."""
        return self.decoder.prepare(image, self.positions, mask_map)


class AttendModule(nn.Module):
    """`MaskDecoder.attend` as a module."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map the prompts' tokens (P, N, C) to kernels, predicted IoU and the image's places."""
        return self.decoder.attend(parts, tokens)


class MasksModule(nn.Module):
    """`MaskDecoder.masks` as a module."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, places: Tensor, kernels: Tensor, *details: Tensor) -> Tensor:
        """Map the image's places (P, K, C) and kernels (P, M, c) to logits."""
        return self.decoder.masks(places, kernels, details)


class ConvertedSam:
    """The networks of a model with float32 weights on the CPU. Threads may share it."""

    def __init__(self, model: SamNetwork, name: str, digest: str, dtype: str, folder: Path) -> None:
        """Read the converted image encoder, or start its conversion; the decoder's stages follow with the first prompt.

        Args:
            model: the networks.
            name: of the model, for the names of files.
            digest: of the weights.
            dtype: of the image encoder and the decoder's last stage, `float32` or `bfloat16`. The other stages are in
                float32: in bfloat16 the predicted IoU ranks similar candidates differently.
            folder: of the converted networks.
        """
        self._model, self._name, self._digest, self._folder, self._dtype = model, name, digest, folder, dtype
        self._lock = threading.Lock()
        self._stages: dict[str, ConvertedNetwork] = {}
        self._positions = model.prompt_encoder.dense_positions()
        noise = torch.Generator().manual_seed(0)
        pixels = Example(torch.randn(1, 3, model.image_size, model.image_size, generator=noise))
        self._encoder = self._converted(EncoderModule(model), [pixels], "encoder", dtype)

    def encode(self, pixels: Tensor) -> Features:
        """Compute what `SamNetwork.encode` does, of one image (1, 3, image_size, image_size)."""
        features, *details = self._encoder(pixels)
        return features, tuple(details)

    def prepare(self, image: Tensor, mask_map: Tensor) -> ImageParts:
        """Compute what `MaskDecoder.prepare` does."""
        examples = [(image, ()), (mask_map[..., :1, :1], (2, 3))]
        stage = self._stage("prepare", lambda decoder: PrepareModule(decoder, self._positions), examples)
        return stage(image, mask_map)

    def attend(self, parts: ImageParts, prompt_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what `MaskDecoder.attend` does."""
        pair = prompt_tokens[:1].expand(2, -1, -1)  # several prompts with one image: the general case
        examples = [(pair, (0, 1)), *((part, ()) for part in parts)]
        kernels, iou, places = self._stage("attend", AttendModule, examples)(prompt_tokens, *parts)
        return kernels, iou, places

    def masks(self, places: Tensor, kernels: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        """Compute what `MaskDecoder.masks` does."""
        pairs = [(x[:1].expand(2, -1, -1), varying) for x, varying in ((places, (0,)), (kernels, (0, 1)))]
        examples = [*pairs, *((detail, ()) for detail in details)]
        return self._stage("masks", MasksModule, examples, self._dtype)(places, kernels.contiguous(), *details)[0]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the conversions that have started have ended; return whether OpenVINO runs all networks."""
        networks = [self._encoder, *self._stages.values()]
        return all(network.wait(timeout_s) for network in networks)

    def _stage(
        self,
        part: str,
        module: Callable[[MaskDecoder], nn.Module],
        inputs: Sequence[tuple[Tensor, tuple[int, ...]]],
        dtype: str = "float32",
    ) -> ConvertedNetwork:
        """Return a stage of the decoder; its first call starts the conversion, with examples of its inputs."""
        with self._lock:
            if part not in self._stages:
                examples = [Example(tensor.clone().contiguous(), varying) for tensor, varying in inputs]
                self._stages[part] = self._converted(module(self._model.mask_decoder), examples, part, dtype)
            return self._stages[part]

    def _converted(self, module: nn.Module, examples: list[Example], part: str, dtype: str) -> ConvertedNetwork:
        return ConvertedNetwork(module, examples, f"{self._name}-{part}", self._digest, dtype, self._folder)
