"""IMDB's film reviews as sequences of words: is the review positive? Maas et al., ACL 2011.

From TFDS (`imdb_reviews`), which has shuffled them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from train.data.types import Split
from train.errors import UserError

CLASSES = ("negative", "positive")
# Tokens of what is no word of the vocabulary.
NOTHING, UNKNOWN = 0, 1


def load(builder: Any, validation: int, length: int, vocabulary: int) -> tuple[Split, Split]:
    """Reviews as tokens.

    Args:
        builder: of TFDS, prepared.
        validation: training examples at the end, of which the vocabulary knows nothing.
        length: words of each review that are kept, the last ones, where most conclude.
        vocabulary: number of tokens, `NOTHING` and `UNKNOWN` among them; the others are the most
            frequent words.

    Returns:
        Training and test examples. images: uint16 [n, 1, length, 1], tokens, `NOTHING` before a
        shorter review. labels: 1 for positive ones.

    Raises:
        UserError: arguments out of range.
    """
    if length < 1 or not 3 <= vocabulary <= 2**16:
        raise UserError(
            "config.data: expected length >= 1 and vocabulary from 3 to 65,536, got "
            f"length={length}, vocabulary={vocabulary}."
        )
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
