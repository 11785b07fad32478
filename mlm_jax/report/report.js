'use strict';

// Numbers in order of their value, texts in order of their letters; what is empty stays at the end.
function compare(a, b, direction) {
  if (a === '' || b === '') return (a === '') - (b === '');
  const numbers = !isNaN(a) && !isNaN(b);
  return direction * (numbers ? a - b : a.localeCompare(b));
}

function sort(header) {
  const direction = header.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
  for (const each of header.parentNode.children) each.removeAttribute('aria-sort');
  header.setAttribute('aria-sort', direction === 1 ? 'ascending' : 'descending');
  const body = header.closest('table').tBodies[0];
  const key = row => row.cells[header.cellIndex].dataset.sort;
  const rows = [...body.rows].sort((a, b) => compare(key(a), key(b), direction));
  body.append(...rows);
}

function toggle(button) {
  const shown = button.getAttribute('aria-pressed') !== 'true';
  button.setAttribute('aria-pressed', shown);
  const arm = CSS.escape(button.dataset.arm);
  for (const each of button.closest('figure').querySelectorAll(`svg [data-arm="${arm}"]`)) {
    each.classList.toggle('off', !shown);
  }
}

for (const button of document.querySelectorAll('thead button')) {
  button.addEventListener('click', () => sort(button.closest('th')));
}
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => toggle(button));
}
