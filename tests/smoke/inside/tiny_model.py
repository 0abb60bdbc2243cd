"""Smallest model that the frontend of Dynamo can serve: a tokenizer and a configuration, optionally with weights.

The tokenizer is a byte-level BPE without merges and always the same: 256 bytes, two special tokens, and letter triples.
No text becomes a triple, but the answers of the mock worker have them: random tokens with numbers from 1000 on.
"""

import itertools
import json
import string
from pathlib import Path

BEGIN, END = "<|begin|>", "<|end|>"
SIZE = 4096
HIDDEN, INTERMEDIATE, HIDDEN_LAYERS = 256, 512, 2
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def byte_letters() -> list:
    """Return the visible letter of each byte, as in the byte-level BPE of GPT-2."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def tokenizer() -> dict:
    letter_triples = ("Ġ" + "".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=3))
    tokens = [*byte_letters(), BEGIN, END, *itertools.islice(letter_triples, SIZE - 258)]
    special = [
        {
            "id": tokens.index(content),
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for content in (BEGIN, END)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [],
        },
    }


def shapes() -> dict:
    """Return name -> shape of the weights of a Llama model in transformers (modeling_llama.py)."""
    square, up, down = (HIDDEN, HIDDEN), (INTERMEDIATE, HIDDEN), (HIDDEN, INTERMEDIATE)
    layer = {
        **{f"self_attn.{name}_proj": square for name in "qkvo"},
        "mlp.gate_proj": up,
        "mlp.up_proj": up,
        "mlp.down_proj": down,
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    return {
        "model.embed_tokens.weight": (SIZE, HIDDEN),
        "lm_head.weight": (SIZE, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        **{f"model.layers.{n}.{name}.weight": shape for n in range(HIDDEN_LAYERS) for name, shape in layer.items()},
    }


def make_weights(file: Path) -> None:
    """Write random weights, which are always the same, with libraries that every engine has."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(0)
    weights = {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=random) * 0.02
        for name, shape in shapes().items()
    }
    save_file({name: weight.half() for name, weight in weights.items()}, file, metadata={"format": "pt"})


def make(folder: Path, *, weights: bool = False) -> None:
    """Write the files of the model."""
    folder.mkdir(parents=True)
    files = {
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {
            "bos_token": BEGIN,
            "eos_token": END,
            "chat_template": CHAT_TEMPLATE,
            "model_max_length": 2048,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "bos_token_id": 256,
            "eos_token_id": 257,
            # 256 / 4 = 64 for each head, the least that the attention kernels of all engines know.
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "max_position_embeddings": 2048,
            "num_attention_heads": 4,
            "num_hidden_layers": HIDDEN_LAYERS,
            "num_key_value_heads": 4,
            "vocab_size": SIZE,
            "torch_dtype": "float16",
        },
        "generation_config.json": {"bos_token_id": 256, "eos_token_id": 257},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    if weights:
        make_weights(folder / "model.safetensors")
