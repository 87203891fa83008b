// The script of a report in HTML, as it stands in the file, on a made-up page: node html_sort.js REPORT.html
const fs = require('fs');
const html = fs.readFileSync(process.argv[2], 'utf8');
const script = /<script>([\s\S]*?)<\/script>/.exec(html);
if (!script) throw 'the report has no script';
const cell = text => ({textContent: text});
const rows = ['9.5', '10', 'n/a', '-3', '0.5'].map(text => ({cells: [cell('name of ' + text), cell(' ' + text + ' ')]}));
const body = {rows, append(row) { this.rows = this.rows.filter(other => other !== row).concat([row]); }};
const heads = [], clicks = [];
for (let i = 0; i < 2; i++) {
  const head = {dataset: {}, closest: () => ({tBodies: [body]}), parentNode: {get children() { return heads; }}};
  head.addEventListener = (event, act) => { if (event === 'click') clicks[i] = act; };
  heads.push(head);
}
new Function('document', script[1])({querySelectorAll: what => what === 'th' ? heads : []});
const order = () => body.rows.map(row => row.cells[1].textContent.trim()).join(' ');
const expect = (what, wanted) => { if (order() !== wanted) throw `${what}: ${order()} instead of ${wanted}`; };
clicks[1]();
expect('numbers, upwards', '-3 0.5 9.5 10 n/a');
clicks[1]();
if (!order().startsWith('n/a 10 9.5') && order() !== '10 9.5 0.5 -3 n/a') throw 'downwards: ' + order();
clicks[0]();
expect('names', '-3 0.5 10 9.5 n/a');
