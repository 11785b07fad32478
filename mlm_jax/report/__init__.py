"""From the folders of runs to tables, figures and a page.

run_logs       numbers from the logs of single runs
curve          their training curves as a picture
sweep_results  a sweep's folder, read
costs          what a run has spent
statistics     means over seeds, paired differences between arms
findings       which arms are comparable, how they differ, and the answer in words
tables         results.csv, table.tex and lines for a terminal
figures        figures as SVG
sections       the tables of the page
page           report.html
markup         HTML and SVG elements as text
picture        a sweep as one PNG
sweep_report   writes all of them
"""
