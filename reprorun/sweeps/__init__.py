"""Sweeps: many runs of one launcher, told apart by their parameters. Values and pure decisions.

grid_text  what the user typed -> which points a sweep goes through
rows       --from-file: parameters as JSON objects, one a line
points     that -> the points of a sweep, made as they are needed; what tells runs apart
naming     a point -> the name of its record
slots      what a run asks for + what a machine has -> how many run at once, on which GPUs
book       `sweep.json`: what the sweep is, and how far each of its runs has come
table      `sweep.csv`: parameters and last results of every run
"""
