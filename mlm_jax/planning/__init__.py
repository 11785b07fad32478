"""What a run would be on accelerators that are not here: compiled for them, and never executed.

devices       what makers publish of a device
topologies    the devices of a machine, by name
programs      the train and evaluation steps of a config, as shapes
traced        what a step asks for: its matrix products, its largest arrays
program_text  a compiled program's text: loops, and what devices send each other
compiled      what the compiler says of a step
predicted     a step's time, and what is sent at the least
plan          all of it, of a config
text          a plan as lines
"""
