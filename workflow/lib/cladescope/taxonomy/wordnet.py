"""The taxonomy of WordNet 3.0's nouns. The only module that knows NLTK."""

import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nltk.data
from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

from cladescope.taxonomy.taxonomy import Taxonomy, taxonomy_from_parents


def build_taxonomy(wnids: Sequence[str], nltk_data: str | Path) -> Taxonomy:
    """Read from WordNet 3.0 the taxonomy of the classes `wnids`, given in the order of the labels.

    It holds all hypernym paths, instance hypernyms too, from the classes to the root.

    Parameters
    ----------
    wnids
        Distinct noun ids: "n" and the eight digits of the synset's offset in WordNet 3.0.
    nltk_data
        Folder with `corpora/wordnet.zip`, NLTK's layout. No other NLTK data is looked at.

    Raises
    ------
    FileNotFoundError
        If `nltk_data` has no `corpora/wordnet.zip`.
    ValueError
        If wnids are missing, repeated or not nouns of WordNet 3.0: one error that names them all.
    """
    with open_wordnet(nltk_data) as wordnet:
        problems = []
        if repeated := sorted(w for w, times in Counter(wnids).items() if times > 1):
            problems.append(f"given more than once: {', '.join(repeated)}")
        synsets = {wnid: _synset(wordnet, wnid) for wnid in wnids}
        if unknown := [wnid for wnid, synset in synsets.items() if synset is None]:
            problems.append(f"no noun of WordNet 3.0: {', '.join(map(repr, unknown))}")
        if not wnids:
            problems.append("the list of classes is empty")
        if problems:
            raise ValueError(
                f"cannot build the taxonomy: {'; '.join(problems)}. Write each class once, as the "
                "WordNet 3.0 id of a noun (n and eight digits, such as n02084071)."
            )
        parents: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        queue = list(synsets.values())
        while queue:
            synset = queue.pop()
            if (wnid := _wnid(synset)) in parents:
                continue
            above = synset.hypernyms() + synset.instance_hypernyms()
            parents[wnid], names[wnid] = [_wnid(hypernym) for hypernym in above], synset.name()
            queue.extend(above)
    return taxonomy_from_parents(wnids, parents, names)


@contextmanager
def open_wordnet(nltk_data: str | Path) -> Iterator[Any]:
    """Yield NLTK's reader of the WordNet in `nltk_data`, and of no other data on this machine.

    NLTK opens only files below its own search path, and none that another account could write to,
    such as those of a group's shared checkout. So it reads a private copy, and its search path is
    restored afterwards.
    """
    archive = Path(nltk_data) / "corpora" / "wordnet.zip"
    if not archive.is_file():
        raise FileNotFoundError(
            f"{archive} does not exist; nltk_data must be the folder that holds corpora/wordnet.zip"
        )

    class WordNet(WordNetCorpusReader):
        def map_wn(self, version: str = "wordnet") -> None:
            """Skip the map to other versions, for which NLTK would load its own WordNet."""

    user_path = list(nltk.data.path)
    with tempfile.TemporaryDirectory() as private, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions")
        copy = shutil.copyfile(archive, Path(private).resolve() / archive.name)
        copy.chmod(0o600)
        nltk.data.path[:] = [str(copy.parent)]
        try:
            yield WordNet(nltk.data.ZipFilePathPointer(str(copy), "wordnet/"), None)
        finally:
            nltk.data.path[:] = user_path


def _wnid(synset: Any) -> str:
    return f"{synset.pos()}{synset.offset():08d}"


def _synset(wordnet: Any, wnid: str) -> Any:
    """Return the noun synset with this id, or None if WordNet has none."""
    if not (len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isascii() and wnid[1:].isdigit()):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NLTK warns, and returns None, inside a record
            synset = wordnet.synset_from_pos_and_offset("n", int(wnid[1:]))
    except (WordNetError, ValueError):
        return None
    return synset if synset is not None and _wnid(synset) == wnid else None
