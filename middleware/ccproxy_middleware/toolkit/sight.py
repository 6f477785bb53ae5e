"""How a converter tells an outer layer that a model takes no images."""


class Sight:
    """Stands in the scope as ``ccproxy.sight`` where a layer outside describes images.

    A converter whose provider has refused a request for its images sets ``refused`` and returns without an answer; the
    layer asks again, with texts in their place.
    """

    def __init__(self) -> None:
        self.refused = False
