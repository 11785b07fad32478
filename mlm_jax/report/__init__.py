"""From the folders of runs to tables, figures and a page.

run_logs       numbers from the logs of single runs, and what these lack
run_curves     their losses over the steps
curve          the same as a picture
run_page       the page of one run
task_scores    the scores and the errors of fine-tuned runs
task_page      the page of one
task_errors    its sections of what the run has got wrong
run_report     writes what is asked for of runs
sweep_results  a sweep's folder, read
task_sweep     what is otherwise where its runs are fine-tuned
costs          what a run has spent
comparable     which arms can be compared
comparisons    which arms are compared, and which contrasts were named before
statistics     means over seeds, paired differences between arms
findings       how the arms differ
text_interval  intervals over seeds and held-out text
answer         the answer in words
judges         what the judges of a sweep have found of its runs
judged         all arms by all judges, tested together
judge_table    the table of that
cross_table    arms, as trained, by the policies that they are scored under
tables         results.csv, table.tex and lines for a terminal
tidy           curves.csv and slices.csv, a row a number
figures        figures as SVG
intervals      small ones of intervals, for tables
document       what pages have in common
sections       tables of the page
difference_table  its table of what is tested
slice_tables   its tables of scores by slices of the masked tokens
page           report.html of a sweep
markup         HTML and SVG elements as text
picture        a sweep as one picture
sweep_report   writes all of them
suite_report   of several sweeps: theirs, and one table
"""
