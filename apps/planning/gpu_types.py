"""What the GPU types are known to do: memory, bandwidth, dense throughput, power and a list price, with sources.

Throughput is dense, without structured sparsity, with float32 accumulation where makers give both; None where
the maker names no figure or the type cannot do that precision. Data sheets were read in November 2026. A list
price is what one cloud asked for one GPU and hour, on demand, in US dollars: a first guess until the operator
says what the own machine costs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PRICES_READ = "2026"  # SkyPilot catalog v8, commits 0f40703 (Lambda), 0082b04 (Nebius) and 01acdfd (RunPod)
GB, TERA = 10**9, 10**12


@dataclass(frozen=True, slots=True)
class GpuType:
    """`words` are the parts a product name must have. Bytes, bytes/s, FLOP/s, watts, US dollars an hour."""

    key: str
    title: str
    words: frozenset[str]
    memory_bytes: int
    bandwidth: float
    bf16_flops: float | None
    fp8_flops: float | None
    board_watts: int
    source: str
    hour_price: float | None = None
    price_source: str = ""


def _row(
    key: str,
    title: str,
    words: str,
    figures: tuple[int, int, float | None, float | None, int],
    source: str,
    price: tuple[float, str] = (0.0, ""),
) -> GpuType:
    """`figures`: memory in GB, bandwidth in GB/s, bf16 and fp8 in TFLOP/s, watts."""
    memory, bandwidth, bf16, fp8, watts = figures
    return GpuType(
        key=key,
        title=title,
        words=frozenset(words.split()),
        memory_bytes=memory * GB,
        bandwidth=bandwidth * GB,
        bf16_flops=bf16 and bf16 * TERA,
        fp8_flops=fp8 and fp8 * TERA,
        board_watts=watts,
        source=source,
        hour_price=price[0] or None,
        price_source=price[1],
    )


_LAPTOPS = "NVIDIA GeForce laptop comparison page"
_PORTABLE = {"laptop", "mobile", "notebook"}

# The first row whose words are all in the product's name, and whose memory agrees, is the type: narrow before wide.
GPU_TYPES: tuple[GpuType, ...] = (
    _row("gb300", "GB300", "gb300", (279, 8000, 2500, 5000, 1400), "NVIDIA GB300 NVL72 data sheet"),
    _row("b300", "B300", "b300", (270, 8000, 2250, 4500, 1100), "NVIDIA HGX B300 data sheet"),
    _row("b200", "B200", "b200", (180, 8000, 2250, 4500, 1000), "NVIDIA Blackwell data sheet", (5.50, "Nebius")),
    _row("gb200", "GB200", "gb200", (186, 8000, 2500, 5000, 1200), "NVIDIA GB200 NVL72 data sheet"),
    _row("gh200-96", "GH200 96 GB", "gh200", (96, 4000, 989, 1979, 700), "NVIDIA GH200 data sheet", (2.29, "Lambda")),
    _row("gh200-144", "GH200 144 GB", "gh200", (144, 4900, 989, 1979, 700), "NVIDIA GH200 data sheet"),
    _row("h200-nvl", "H200 NVL", "h200 nvl", (141, 4800, 835, 1671, 600), "NVIDIA H200 data sheet"),
    _row("h200-sxm", "H200 SXM", "h200", (141, 4800, 989, 1979, 700), "NVIDIA H200 data sheet"),
    _row("h100-nvl", "H100 NVL", "h100 nvl", (94, 3900, 835, 1671, 400), "NVIDIA H100 data sheet"),
    _row("h100-pcie", "H100 PCIe", "h100 pcie", (80, 2000, 756, 1513, 350), "NVIDIA H100 data sheet", (3.29, "Lambda")),
    _row("h100-sxm", "H100 SXM", "h100", (80, 3350, 989, 1979, 700), "NVIDIA H100 data sheet", (2.95, "Nebius")),
    _row("h800", "H800", "h800", (80, 3350, 989, 1979, 700), "NVIDIA H800 data sheet"),
    _row("h20", "H20", "h20", (96, 4000, 148, 296, 400), "NVIDIA H20 data sheet"),
    _row("h20-141", "H20 141 GB", "h20", (141, 4800, 148, 296, 400), "NVIDIA H20 data sheet"),
    _row("a800", "A800", "a800", (80, 2039, 312, None, 400), "NVIDIA A800 data sheet"),
    _row("a100-pcie-80", "A100 PCIe 80 GB", "a100 pcie", (80, 1935, 312, None, 300), "NVIDIA A100 data sheet",
         (1.39, "RunPod")),
    _row("a100-pcie-40", "A100 PCIe 40 GB", "a100 pcie", (40, 1555, 312, None, 250), "NVIDIA A100 data sheet"),
    _row("a100-sxm-80", "A100 SXM 80 GB", "a100", (80, 2039, 312, None, 400), "NVIDIA A100 data sheet",
         (2.79, "Lambda")),
    _row("a100-sxm-40", "A100 SXM 40 GB", "a100", (40, 1555, 312, None, 400), "NVIDIA A100 data sheet"),
    _row("l40s", "L40S", "l40s", (48, 864, 362, 733, 350), "NVIDIA L40S data sheet", (1.55, "Nebius")),
    _row("l40", "L40", "l40", (48, 864, 181, 362, 300), "NVIDIA L40 data sheet"),
    _row("l20", "L20", "l20", (48, 864, 119, 239, 275), "NVIDIA L20 data sheet"),
    _row("l4", "L4", "l4", (24, 300, 121, 242, 72), "NVIDIA L4 data sheet"),
    _row("a40", "A40", "a40", (48, 696, 150, None, 300), "NVIDIA A40 data sheet"),
    _row("a30", "A30", "a30", (24, 933, 165, None, 165), "NVIDIA A30 data sheet"),
    _row("a16", "A16, one of four GPUs", "a16", (16, 200, 18, None, 62), "NVIDIA A16 data sheet"),
    _row("a10g", "A10G", "a10g", (24, 600, 70, None, 300), "AWS G5 instance page"),
    _row("a2", "A2", "a2", (16, 200, 18, None, 60), "NVIDIA A2 data sheet"),
    _row("a10", "A10", "a10", (24, 600, 125, None, 150), "NVIDIA A10 data sheet", (1.29, "Lambda")),
    _row("rtx-6000-ada", "RTX 6000 Ada", "rtx 6000 ada", (48, 960, 364, 728, 300), "NVIDIA RTX 6000 Ada data sheet"),
    _row("rtx-pro-6000", "RTX PRO 6000", "rtx pro 6000", (96, 1792, 504, 1008, 600),
         "NVIDIA RTX Blackwell PRO white paper"),
    _row("rtx-pro-5000", "RTX PRO 5000", "rtx pro 5000", (48, 1344, None, None, 300), "NVIDIA RTX PRO 5000 data sheet"),
    _row("rtx-pro-4500", "RTX PRO 4500", "rtx pro 4500", (32, 896, None, None, 200), "NVIDIA RTX PRO 4500 data sheet"),
    _row("rtx-pro-4000", "RTX PRO 4000", "rtx pro 4000", (24, 672, None, None, 140), "NVIDIA RTX PRO 4000 data sheet"),
    _row("rtx-5000-ada", "RTX 5000 Ada", "rtx 5000 ada", (32, 576, 261, 522, 250), "NVIDIA RTX 5000 Ada data sheet"),
    _row("rtx-4000-ada", "RTX 4000 Ada", "rtx 4000 ada", (20, 360, 107, 214, 130), "NVIDIA RTX 4000 Ada data sheet"),
    _row("a5500", "RTX A5500", "a5500", (24, 768, None, None, 230), "NVIDIA RTX A5500 data sheet"),
    _row("a4500", "RTX A4500", "a4500", (20, 640, None, None, 200), "NVIDIA RTX A4500 data sheet"),
    _row("a5000", "RTX A5000", "a5000", (24, 768, 111, None, 230), "NVIDIA RTX A5000 data sheet"),
    _row("a4000", "RTX A4000", "a4000", (16, 448, 77, None, 140), "NVIDIA RTX A4000 data sheet"),
    _row("rtx-a6000", "RTX A6000", "a6000", (48, 768, 155, None, 300), "NVIDIA RTX A6000 data sheet",
         (1.09, "Lambda")),
    # Of laptops: less memory and bandwidth, and a throughput that depends on the power each maker allows.
    _row("rtx-5090-laptop", "RTX 5090 Laptop", "rtx 5090 laptop", (24, 896, None, None, 150), _LAPTOPS),
    _row("rtx-5080-laptop", "RTX 5080 Laptop", "rtx 5080 laptop", (16, 896, None, None, 150), _LAPTOPS),
    _row("rtx-5070-ti-laptop", "RTX 5070 Ti Laptop", "rtx 5070 ti laptop", (12, 672, None, None, 115), _LAPTOPS),
    _row("rtx-5070-laptop", "RTX 5070 Laptop", "rtx 5070 laptop", (8, 448, None, None, 100), _LAPTOPS),
    _row("rtx-4090-laptop", "RTX 4090 Laptop", "rtx 4090 laptop", (16, 576, None, None, 150), _LAPTOPS),
    _row("rtx-4080-laptop", "RTX 4080 Laptop", "rtx 4080 laptop", (12, 432, None, None, 150), _LAPTOPS),
    _row("rtx-4070-laptop", "RTX 4070 Laptop", "rtx 4070 laptop", (8, 256, None, None, 115), _LAPTOPS),
    _row("rtx-4060-laptop", "RTX 4060 Laptop", "rtx 4060 laptop", (8, 256, None, None, 115), _LAPTOPS),
    _row("rtx-5090", "RTX 5090", "rtx 5090", (32, 1792, 209, 419, 575), "NVIDIA RTX Blackwell white paper"),
    _row("rtx-5080", "RTX 5080", "rtx 5080", (16, 960, 113, 225, 360), "NVIDIA RTX Blackwell white paper"),
    _row("rtx-5070-ti", "RTX 5070 Ti", "rtx 5070 ti", (16, 896, 88, 176, 300), "NVIDIA RTX Blackwell white paper"),
    _row("rtx-5070", "RTX 5070", "rtx 5070", (12, 672, 62, 123, 250), "NVIDIA RTX Blackwell white paper"),
    _row("rtx-5060-ti", "RTX 5060 Ti", "rtx 5060 ti", (16, 448, None, None, 180), "NVIDIA GeForce RTX 5060 Ti page"),
    _row("rtx-5060-ti-8", "RTX 5060 Ti 8 GB", "rtx 5060 ti", (8, 448, None, None, 180),
         "NVIDIA GeForce RTX 5060 Ti page"),
    _row("rtx-5060", "RTX 5060", "rtx 5060", (8, 448, None, None, 145), "NVIDIA GeForce RTX 5060 page"),
    _row("rtx-4080-super", "RTX 4080 SUPER", "rtx 4080 super", (16, 736, 104, 209, 320),
         "NVIDIA GeForce RTX 4080 SUPER page"),
    _row("rtx-4080", "RTX 4080", "rtx 4080", (16, 717, 97, 195, 320), "NVIDIA Ada white paper"),
    _row("rtx-4070-ti-super", "RTX 4070 Ti SUPER", "rtx 4070 ti super", (16, 672, 88, 176, 285),
         "NVIDIA GeForce RTX 4070 Ti SUPER page"),
    _row("rtx-4070-ti", "RTX 4070 Ti", "rtx 4070 ti", (12, 504, 80, 160, 285), "NVIDIA Ada white paper"),
    _row("rtx-4070", "RTX 4070", "rtx 4070", (12, 504, 58, 117, 200), "NVIDIA Ada white paper"),
    _row("rtx-4060-ti", "RTX 4060 Ti", "rtx 4060 ti", (16, 288, 44, 88, 165), "NVIDIA Ada white paper"),
    _row("rtx-4060-ti-8", "RTX 4060 Ti 8 GB", "rtx 4060 ti", (8, 288, 44, 88, 160), "NVIDIA Ada white paper"),
    _row("rtx-4060", "RTX 4060", "rtx 4060", (8, 272, 30, 60, 115), "NVIDIA Ada white paper"),
    _row("rtx-4090", "RTX 4090", "rtx 4090", (24, 1008, 165, 330, 450), "NVIDIA Ada white paper"),
    _row("rtx-3090-ti", "RTX 3090 Ti", "rtx 3090 ti", (24, 1008, 80, None, 450), "NVIDIA GA102 white paper"),
    _row("rtx-3080-ti", "RTX 3080 Ti", "rtx 3080 ti", (12, 912, 68, None, 350), "NVIDIA GA102 white paper"),
    _row("rtx-3070-ti", "RTX 3070 Ti", "rtx 3070 ti", (8, 608, 43, None, 290), "NVIDIA GA102 white paper"),
    _row("rtx-3080", "RTX 3080", "rtx 3080", (10, 760, 60, None, 320), "NVIDIA GA102 white paper"),
    _row("rtx-3080-12", "RTX 3080 12 GB", "rtx 3080", (12, 912, 61, None, 350), "NVIDIA GeForce RTX 3080 page"),
    _row("rtx-3070", "RTX 3070", "rtx 3070", (8, 448, 41, None, 220), "NVIDIA GA102 white paper"),
    _row("rtx-3060-ti", "RTX 3060 Ti", "rtx 3060 ti", (8, 448, 32, None, 200), "NVIDIA GA104 specifications"),
    _row("rtx-3060", "RTX 3060", "rtx 3060", (12, 360, 26, None, 170), "NVIDIA GA106 specifications"),
    _row("rtx-3060-8", "RTX 3060 8 GB", "rtx 3060", (8, 240, 26, None, 170), "NVIDIA GeForce RTX 3060 page"),
    _row("rtx-3050", "RTX 3050", "rtx 3050", (8, 224, 18, None, 130), "NVIDIA GA106 specifications"),
    _row("rtx-3050-6", "RTX 3050 6 GB", "rtx 3050", (6, 168, None, None, 70), "NVIDIA GeForce RTX 3050 page"),
    _row("quadro-rtx-8000", "Quadro RTX 8000", "quadro rtx 8000", (48, 672, None, None, 260),
         "NVIDIA Quadro RTX 8000 data sheet"),
    _row("quadro-rtx-6000", "Quadro RTX 6000", "quadro rtx 6000", (24, 672, None, None, 260),
         "NVIDIA Quadro RTX 6000 data sheet", (0.69, "Lambda")),
    _row("2080ti", "RTX 2080 Ti", "2080 ti", (11, 616, None, None, 250), "NVIDIA Turing white paper"),
    _row("titan-rtx", "TITAN RTX", "titan rtx", (24, 672, None, None, 280), "NVIDIA TITAN RTX page"),
    _row("rtx-3090", "RTX 3090", "rtx 3090", (24, 936, 71, None, 350), "NVIDIA GA102 white paper"),
    _row("v100-32", "V100 32 GB", "v100", (32, 900, None, None, 300), "NVIDIA V100 data sheet"),
    _row("v100-16", "V100 16 GB", "v100", (16, 900, None, None, 300), "NVIDIA V100 data sheet", (0.79, "Lambda")),
    _row("t4", "T4", "t4", (16, 320, None, None, 70), "NVIDIA T4 data sheet"),
    _row("p100", "P100 16 GB", "p100", (16, 732, None, None, 300), "NVIDIA P100 data sheet"),
    _row("p40", "P40", "p40", (24, 346, None, None, 250), "NVIDIA P40 data sheet"),
    _row("gb10", "GB10 (DGX Spark)", "gb10", (128, 273, None, None, 140), "NVIDIA DGX Spark data sheet"),
    _row("mi355x", "MI355X", "mi355x", (288, 8000, 2517, 5033, 1400), "AMD Instinct MI355X data sheet"),
    _row("mi350x", "MI350X", "mi350x", (288, 8000, 2307, 4614, 1000), "AMD Instinct MI350X data sheet"),
    _row("mi325x", "MI325X", "mi325x", (256, 6000, 1307, 2615, 1000), "AMD Instinct MI325X data sheet"),
    _row("mi300x", "MI300X", "mi300x", (192, 5300, 1307, 2615, 750), "AMD Instinct MI300X data sheet"),
    _row("mi210", "MI210", "mi210", (64, 1638, 181, None, 300), "AMD Instinct MI210 data sheet"),
    _row("mi250x", "MI250X, one of two dies", "mi250x", (64, 1638, 192, None, 280), "AMD Instinct MI250X data sheet"),
    _row("mi250", "MI250, one of two dies", "mi250", (64, 1638, 181, None, 280), "AMD Instinct MI250 data sheet"),
    _row("mi100", "MI100", "mi100", (32, 1229, 92, None, 300), "AMD Instinct MI100 data sheet"),
    _row("w7900", "Radeon PRO W7900", "w7900", (48, 864, 123, None, 295), "AMD Radeon PRO W7900 page"),
    _row("rx-7900-xtx", "RX 7900 XTX", "7900 xtx", (24, 960, 123, None, 355), "AMD Radeon RX 7900 XTX page"),
)  # fmt: skip

_MEMORY_MARGIN = 0.15  # drivers report a little less than the label says
GH200_HOST_GB = (480, 624)  # in its product names: the memory of the CPU beside it
_SLICES = 7  # a MIG GPU is cut into seven parts


def gpu_type_of(product_name: str, memory_bytes: int = 0) -> GpuType | None:
    """The type of a whole GPU by the name its driver gives; `memory_bytes` 0 where that is not known.

    None for a MIG slice: `mig.device_type` says what it has of the whole.
    """
    words = set(re.findall(r"[a-z0-9]+", product_name.lower()))
    if "mig" in words:
        return None
    if words & _PORTABLE:
        words |= {"laptop"}
    for row in GPU_TYPES:
        if (
            row.words <= words
            and ("laptop" in row.words) == ("laptop" in words)
            and agrees(row, memory_bytes or _named_bytes(words))
        ):
            return row
    return None


def agrees(row: GpuType, memory_bytes: float) -> bool:
    """Whether a GPU of that memory can be of this type; one whose memory is not known (0) can."""
    return not memory_bytes or abs(memory_bytes - row.memory_bytes) <= _MEMORY_MARGIN * row.memory_bytes


def _named_bytes(words: set[str]) -> int:
    sizes = [int(word[:-2]) for word in words if re.fullmatch(r"\d+gb", word)]
    return sizes[0] * GB if len(sizes) == 1 and not ("gh200" in words and sizes[0] in GH200_HOST_GB) else 0


def gpu_type(key: str) -> GpuType | None:
    return next((row for row in GPU_TYPES if row.key == key), None)


def mig_share(profile: str) -> float:
    """The part of a whole GPU that a MIG profile such as "3g.40gb" has; 1.0 without one."""
    found = re.match(r"(\d+)g\.", profile)
    return int(found.group(1)) / _SLICES if found else 1.0
