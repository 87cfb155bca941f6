"""A Bell pair, measured: `params` says how often (`shots`) and with which seed, so that the counts can be had again."""
from qiskit import QuantumCircuit
from qiskit.primitives import StatevectorSampler


def run(data=None, params=None):
    qubits = data.get("qubits", 2)
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(1, qubits):
        circuit.cx(0, qubit)
    circuit.measure_all()
    sampler = StatevectorSampler(seed=params.get("seed"))
    result = sampler.run([circuit], shots=params.get("shots", 1024)).result()
    return {"counts": result[0].data.meas.get_counts()}
