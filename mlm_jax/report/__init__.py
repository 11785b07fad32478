"""From the folders of runs to tables, figures and a page.

run_logs       numbers from the logs of single runs
curve          their training curves as a picture
sweep_results  a sweep's folder, read
costs          what a run has spent
statistics     means over seeds, paired differences between arms
findings       which arms are comparable, and how they differ
answer         the answer in words
cross_table    arms, as trained, by the policies that they are scored under
tables         results.csv, table.tex and lines for a terminal
figures        figures as SVG
sections       tables of the page
slice_tables   its tables of scores by slices of the masked tokens
page           report.html
markup         HTML and SVG elements as text
picture        a sweep as one PNG
sweep_report   writes all of them
"""
