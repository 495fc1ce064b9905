"""An observer of a run for tests."""


class Watch:
    """Writes down what a run tells."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.started: list[str] = []
        self.finished: dict[str, bool] = {}
        self.notes: list[str] = []

    def planned(self, names) -> None:
        self.names = list(names)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def component_started(self, name: str) -> None:
        self.started.append(name)

    def component_finished(self, name: str, seconds: float, *, cached: bool) -> None:
        assert seconds >= 0.0
        self.finished[name] = cached
