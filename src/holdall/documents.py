"""`log_dict` and `log_text`: values as the bytes of a file, in the format that its name asks for."""

from __future__ import annotations

import json

from holdall.stores.errors import InvalidParameterValue

__all__ = ["encode_document", "encode_text"]


def encode_text(text: object, artifact_file: str) -> bytes:
    """Text as UTF-8, without a byte order mark.

    Raises:
        InvalidParameterValue: It is not text, or holds unpaired surrogates.
    """
    if not isinstance(text, str):
        raise InvalidParameterValue(f"log_text needs text for {artifact_file!r}, got {type(text).__name__}.")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidParameterValue(
            f"The text for {artifact_file!r} holds an unpaired surrogate and is no UTF-8."
        ) from None


def encode_document(document: object, artifact_file: str) -> bytes:
    """A dict or list as YAML if the name ends in `.yml` or `.yaml`, as JSON otherwise.

    JSON has an indent of 2 and keeps the order of keys, YAML sorts them; both escape what is not ASCII. Objects that
    the format does not know are written as their `str()`.

    Raises:
        InvalidParameterValue: It is no dict or list, or cannot be written.
    """
    if not isinstance(document, dict | list):
        raise InvalidParameterValue(f"log_dict needs a dict or a list, got {type(document).__name__}.")
    if artifact_file.endswith((".yml", ".yaml")):
        return _encode_yaml(document)
    try:
        return json.dumps(document, indent=2, default=str).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterValue(f"The value for {artifact_file!r} cannot be written as JSON: {error}.") from error


def _encode_yaml(document: object) -> bytes:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes subclasses of the basic types as those, and everything else as text."""

    represent = yaml.SafeDumper
    Dumper.add_multi_representer(dict, represent.represent_dict)
    Dumper.add_multi_representer(list, represent.represent_list)
    Dumper.add_multi_representer(str, lambda dumper, value: dumper.represent_str(str(value)))
    Dumper.add_multi_representer(int, lambda dumper, value: dumper.represent_int(int(value)))
    Dumper.add_multi_representer(float, lambda dumper, value: dumper.represent_float(float(value)))
    Dumper.add_multi_representer(object, lambda dumper, value: dumper.represent_str(str(value)))
    text: str = yaml.dump(document, Dumper=Dumper, indent=2, sort_keys=True, allow_unicode=False)
    return text.encode("ascii")
