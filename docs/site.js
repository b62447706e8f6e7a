// Elements that scroll sideways can be focused by keyboard
const reachable = () => document.querySelectorAll('pre, .cell_output, .table-wrapper').forEach(e => {
  if (e.scrollWidth > e.clientWidth) e.tabIndex = 0; else e.removeAttribute('tabindex');
});
addEventListener('load', reachable);
addEventListener('resize', reachable);
