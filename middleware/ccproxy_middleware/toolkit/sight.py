"""How a converter reports to an outer layer that a model accepts no images."""


class Sight:
    """Is in the scope as ``ccproxy.sight`` where an outer layer describes images.

    A converter whose provider has refused a request because of its images sets ``refused`` and returns without an
    answer. The layer then sends the request again, with texts in place of the images.
    """

    def __init__(self) -> None:
        self.refused = False
