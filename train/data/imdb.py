"""IMDB's film reviews as sequences of words: is the review positive? Maas et al., ACL 2011.

They come from TFDS (`imdb_reviews`), already shuffled.
"""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from train.data import tfds
from train.data.types import Parts, Split, hold_out

CLASSES = ("negative", "positive")
# Tokens of padding, and of words outside the vocabulary.
NOTHING, UNKNOWN = 0, 1


def load(config: ml_collections.ConfigDict) -> Parts:
    """Parts as `config.data` asks for; the last training reviews are for validation."""
    builder = tfds.prepared_builder(config.name, config.data_dir)
    rest, test = read(builder, config.validation, config.length, config.vocabulary)
    return Parts(*hold_out(rest, config.validation), test, CLASSES)


def read(builder: Any, validation: int, length: int, vocabulary: int) -> tuple[Split, Split]:
    """Reviews as tokens.

    Args:
        builder: of TFDS, prepared.
        validation: number of training examples at the end that the vocabulary leaves out.
        length: words of each review that are kept: the last ones, where most reviews conclude.
        vocabulary: number of tokens: `NOTHING`, `UNKNOWN` and the most frequent words.

    Returns:
        Training and test examples. images: uint16 [n, 1, length, 1], tokens, `NOTHING` before a
        shorter review. labels: 1 for positive reviews.
    """
    sources = (builder.as_data_source(split=split) for split in ("train", "test"))
    train, test = (source.__getitems__(range(len(source))) for source in sources)
    words = CountVectorizer(max_features=vocabulary - 2, stop_words=["br"])
    words.fit(example["text"] for example in train[: len(train) - validation])
    analyse = words.build_analyzer()
    tokens = lambda text: _tokens(analyse(text), words.vocabulary_, length)
    split = lambda part: Split(
        np.stack([tokens(example["text"]) for example in part]),
        np.array([example["label"] for example in part], np.int32),
    )
    return split(train), split(test)


def _tokens(words: Sequence[str], known: dict[str, int], length: int) -> np.ndarray:
    kept = [known.get(word, UNKNOWN - 2) + 2 for word in words[-length:]]
    tokens = np.full((1, length, 1), NOTHING, np.uint16)
    tokens[0, length - len(kept) :, 0] = kept
    return tokens
