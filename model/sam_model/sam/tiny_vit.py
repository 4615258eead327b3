"""MobileSAM's image encoder: TinyViT-5M with SAM's neck.

The first stage has convolutions, as in MobileNetV2's inverted bottlenecks. The other stages have windowed attention
with a learned bias per distance, as in LeViT, and a depthwise convolution between attention and perceptron.

Source: TinyViT, arXiv:2207.10666, section 4.1 and table 1; MobileSAM, arXiv:2306.14289.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import channels_last, flat_tokens, join_windows, neck, split_windows
from sam_model.sam.sizes import TinyVitSize


class TinyViT(nn.Module):
    """Maps a normalised, padded image to its embedding.

    Shape: (B, 3, image_size, image_size) to (B, outputs, grid, grid), grid = image_size / 16.
    """

    def __init__(self, size: TinyVitSize, outputs: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(size.widths[0])
        self.layers = nn.ModuleList()
        for i, (width, depth) in enumerate(zip(size.widths, size.depths, strict=True)):
            is_last = i == len(size.widths) - 1
            blocks: list[nn.Module] = (
                [MBConv(width) for _ in range(depth)]
                if i == 0
                else [TinyViTBlock(width, size.heads[i], size.windows[i]) for _ in range(depth)]
            )
            downsample = None if is_last else PatchMerging(width, size.widths[i + 1], size.strides[i])
            self.layers.append(Stage(blocks, downsample))
        # the classifier of the pre-training: part of the checkpoint, but not used for the embedding
        self.norm_head = nn.LayerNorm(size.widths[-1])
        self.head = nn.Linear(size.widths[-1], size.classes)
        self.neck = neck(size.widths[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Embed images (B, 3, image_size, image_size)."""
        return self.with_early_map(x)[0]

    def with_early_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding of images, and the map (B, grid, grid, C) after the second stage."""
        x = x.contiguous(memory_format=torch.channels_last)  # then (B, H, W, C) is a view, and attention copies less
        x = self.patch_embed(x)  # (B, C, H / 4, W / 4)
        early = x
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == 1:
                early = x
        return self.neck(x), early.permute(0, 2, 3, 1)


class ConvBN(nn.Module):
    """A convolution and a batch norm with fixed statistics, computed as one convolution.

    Shape: (B, inputs, H, W) to (B, outputs, H / stride, W / stride).
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x`; the norm is folded into the kernel, which is far smaller than the image."""
        assert self.bn.running_var is not None
        assert self.bn.running_mean is not None
        scale = self.bn.weight * (self.bn.running_var + self.bn.eps).rsqrt()
        kernel = self.c.weight * scale[:, None, None, None]
        bias = self.bn.bias - self.bn.running_mean * scale
        return F.conv2d(x, kernel, bias, self.c.stride, self.c.padding, groups=self.c.groups)


class PatchEmbed(nn.Module):
    """Two convolutions of stride 2: (B, 3, H, W) to (B, C, H / 4, W / 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvBN(3, width // 2, kernel_size=3, stride=2),
            nn.GELU(),
            ConvBN(width // 2, width, kernel_size=3, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed the patches of `x` (B, 3, H, W)."""
        y: Tensor = self.seq(x)
        return y


class Stage(nn.Module):
    """Blocks of one resolution, then downsampling to the next: (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage on `x` (B, C, H, W)."""
        has_tokens = isinstance(self.blocks[0], TinyViTBlock)
        x = channels_last(x) if has_tokens else x
        for block in self.blocks:
            x = block(x)
        x = x.permute(0, 3, 1, 2) if has_tokens else x  # (B, H, W, C) -> (B, C, H, W)
        return x if self.downsample is None else self.downsample(x)


class MBConv(nn.Module):
    """An inverted bottleneck, four times as wide inside: (B, C, H, W) to (B, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(width, 4 * width)
        self.conv2 = ConvBN(4 * width, 4 * width, kernel_size=3, groups=4 * width)
        self.conv3 = ConvBN(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Expand, convolve depthwise, project, add."""
        y = F.gelu(self.conv1(x))
        y = F.gelu(self.conv2(y))
        return F.gelu(x + self.conv3(y))


class PatchMerging(nn.Module):
    """Downsampling to the next stage: (B, C, H, W) to (B, outputs, H / stride, W / stride)."""

    def __init__(self, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(width, outputs)
        self.conv2 = ConvBN(outputs, outputs, kernel_size=3, stride=stride, groups=outputs)
        self.conv3 = ConvBN(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Change the channels of `x` (B, C, H, W), then its resolution."""
        y: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return y


class TinyViTBlock(nn.Module):
    """Windowed attention, a depthwise convolution, a perceptron: (B, H, W, C) to (B, H, W, C)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvBN(width, width, kernel_size=3, groups=width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x` (B, H, W, C)."""
        x = x + self.attn(x)
        x = channels_last(self.local_conv(x.permute(0, 3, 1, 2)))  # (B, H, W, C) -> (B, C, H, W) and back
        y: Tensor = x + self.mlp(x)
        return y


class Mlp(nn.Module):
    """A perceptron with a layer norm before it: (..., C) to (..., C)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token of `x` (..., C) separately."""
        y: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return y


class WindowAttention(nn.Module):
    """Multi-head self-attention within square windows, with a learned bias per head and distance.

    Shape: (B, H, W, C) to (B, H, W, C). Windows that extend beyond the edge are padded with zeros before the norm.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))  # [head, side * |dy| + |dx|]

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of `x` (B, H, W, C)."""
        height, width = x.shape[1:3]
        tokens = self.norm(flat_tokens(x, self.side))  # the padding is zero before the norm
        parameters = zip(self._by_kind(self.qkv.weight), self._by_kind(self.qkv.bias), strict=True)
        windows = [split_windows(F.linear(tokens, *each), height, width, self.side) for each in parameters]
        q, k, v = (x.view(-1, self.side**2, self.heads, x.shape[2] // self.heads).transpose(1, 2) for x in windows)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias())
        z: Tensor = self.proj(join_windows(y.transpose(1, 2).flatten(2), height, width))
        return z

    def _by_kind(self, parameter: Tensor) -> list[Tensor]:
        """Return what makes queries, keys and values; the checkpoints have the three side by side for each head."""
        by_head = parameter.view(self.heads, 3, -1, *parameter.shape[1:])
        return [part.flatten(0, 1) for part in by_head.unbind(1)]

    def _bias(self) -> Tensor:
        """Return the bias of the logits, (1, heads, S*S, S*S); no fused kernel accepts three dimensions."""
        place = torch.arange(self.side, device=self.attention_biases.device)
        distance = (place[:, None] - place[None, :]).abs()  # (S, S)
        index = self.side * distance[:, None, :, None] + distance[None, :, None, :]  # (y, x, v, u)
        return self.attention_biases[None, :, index.view(self.side**2, self.side**2)]
