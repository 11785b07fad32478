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

const HINT = 'Point at the figure, or select it and press the arrow keys, to read values.';

// What a curve has nearest to a place, and what dots without a curve have there.
function nearest(arm, place) {
  const distance = dot => Math.abs(dot.cx.baseVal.value - place);
  const dots = [...arm.querySelectorAll('circle')];
  const least = Math.min(...dots.map(distance));
  if (least > 0 && !arm.querySelector('.line')) return [];
  return dots.filter(dot => distance(dot) === least);
}

// One entry of what is read: the colour of an arm, its name, its values there.
function entry(arm, dots, where) {
  const span = document.createElement('span');
  span.dataset.arm = arm.dataset.arm;
  const swatch = document.createElement('i');
  swatch.className = 'swatch';
  const elsewhere = dots[0].dataset.x === where ? '' : ` (${dots[0].dataset.x})`;
  span.append(swatch, `${arm.dataset.name} ${dots.map(dot => dot.dataset.y).join(', ')}${elsewhere}`);
  return span;
}

// Values of all that is shown, at the dots nearest to the pointer or where arrow keys have moved to.
function follow(svg) {
  const output = svg.closest('figure').querySelector('output');
  const cursor = svg.querySelector('.cursor');
  const dots = [...svg.querySelectorAll('.arm circle')];
  // Those of a training log are many, and lie between the ones that are compared.
  const main = [...svg.querySelectorAll('.arm:not(.pale) circle')];
  const stops = main.length ? main : dots;
  const places = [...new Set(stops.map(dot => dot.cx.baseVal.value))].sort((a, b) => a - b);
  if (!places.length) return;
  let now = places.length - 1;

  function clear() {
    svg.classList.remove('reading');
    for (const dot of dots) dot.classList.remove('near');
    output.textContent = HINT;
  }

  function read(number) {
    clear();
    now = Math.max(0, Math.min(places.length - 1, number));
    cursor.setAttribute('x1', places[now]);
    cursor.setAttribute('x2', places[now]);
    svg.classList.add('reading');
    const here = stops.find(dot => dot.cx.baseVal.value === places[now]);
    const label = document.createElement('span');
    label.textContent = here.dataset.x;
    output.replaceChildren(label);
    const arms = [...svg.querySelectorAll('.arm:not(.off)')];
    for (const arm of arms.sort((a, b) => a.dataset.arm - b.dataset.arm)) {
      const found = nearest(arm, places[now]);
      for (const dot of found) dot.classList.add('near');
      if (found.length) output.append(entry(arm, found, here.dataset.x));
    }
  }

  function point(event) {
    const box = svg.getBoundingClientRect();
    const place = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const distance = each => Math.abs(each - place);
    read(places.reduce((best, each, i) => distance(each) < distance(places[best]) ? i : best, 0));
  }

  const moves = { ArrowLeft: () => now - 1, ArrowRight: () => now + 1, Home: () => 0, End: () => places.length };
  svg.tabIndex = 0;
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('pointerleave', event => event.pointerType === 'mouse' && clear());
  svg.addEventListener('focus', () => read(now));
  svg.addEventListener('blur', clear);
  svg.addEventListener('keydown', event => {
    if (!(event.key in moves)) return;
    event.preventDefault();
    read(moves[event.key]());
  });
  clear();
}

for (const svg of document.querySelectorAll('svg.chart')) follow(svg);
for (const button of document.querySelectorAll('thead button')) {
  button.addEventListener('click', () => sort(button.closest('th')));
}
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => toggle(button));
}
