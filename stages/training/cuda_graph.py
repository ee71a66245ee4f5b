"""The training step as CUDA graphs: one launch replays all kernels of a step."""

import torch

from common.params import ParameterError


class GraphedStep:
    """step(*tensors), captured on the first call for each number of tensors, then replayed.

    None arguments are dropped. The next call overwrites the returned tensors. Load checkpoints
    before the first call: optimizer.load_state_dict replaces tensors that a graph would keep.
    Capture restores the models and the optimizer state, because its warm-up steps modify them.
    """

    def __init__(self, step, models, optimizer):
        self.step, self.models, self.optimizer = step, models, optimizer
        self.graphs = {}

    def __call__(self, *arguments):
        tensors = [argument for argument in arguments if argument is not None]
        if len(tensors) not in self.graphs:
            self.graphs[len(tensors)] = self.capture(tensors)
        graph, inputs, outputs = self.graphs[len(tensors)]
        for held, given in zip(inputs, tensors, strict=True):
            held.copy_(given)
        graph.replay()
        return outputs

    def state(self):
        """All tensors that the step may modify in place."""
        modules = [t for model in self.models for t in (*model.parameters(), *model.buffers())]
        moments = [t for state in self.optimizer.state.values() for t in state.values()]
        return modules + [tensor for tensor in moments if torch.is_tensor(tensor)]

    def capture(self, tensors):
        """A graph, the tensors that it reads, and those that it writes."""
        inputs, graph = [tensor.clone() for tensor in tensors], torch.cuda.CUDAGraph()
        before = [(tensor, tensor.detach().clone()) for tensor in self.state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries choose kernels and allocate workspaces
                self.step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        try:
            with torch.cuda.graph(graph):
                outputs = self.step(*inputs)
        except RuntimeError as error:
            cause = error.__context__ or error  # ending a failed capture raises a second error
            reason = " ".join(
                f"could not capture the training step as a CUDA graph: {cause}".split()
            )
            raise ParameterError("train.device", f"{reason}; try cpu, got 'cuda'") from cause
        with torch.no_grad():
            for tensor in self.state():  # includes new ones, such as momenta, which start at zero
                tensor.zero_()
            for tensor, value in before:
                tensor.copy_(value)
        return graph, inputs, outputs
