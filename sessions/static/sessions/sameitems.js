/**
 * What two lists of lines have in common. Pure, and bounded: no pair of lists takes more than a moment.
 *
 * Myers, "An O(ND) Difference Algorithm and Its Variations".
 */

// It takes the square of this in time and space. Beyond it all lines between the equal ends count as changed: lines that are
// the same by chance say nothing.
const MAX_DIFFERENCES = 1000;

/** Return the pairs of places at which two lists have the same item, in order: what a shortest edit leaves. */
export function sameItems(old, young) {
  let start = 0;
  while (start < old.length && start < young.length && old[start] === young[start]) start++;
  let [oldEnd, youngEnd] = [old.length, young.length];
  while (oldEnd > start && youngEnd > start && old[oldEnd - 1] === young[youngEnd - 1]) [oldEnd, youngEnd] = [oldEnd - 1, youngEnd - 1];
  const pairs = [];
  for (let place = 0; place < start; place++) pairs.push([place, place]);
  for (const [x, y] of middle(old.slice(start, oldEnd), young.slice(start, youngEnd))) pairs.push([x + start, y + start]);
  for (let place = 0; oldEnd + place < old.length; place++) pairs.push([oldEnd + place, youngEnd + place]);
  return pairs;
}

function middle(old, young) {
  if (!old.length || !young.length) return [];
  const bound = Math.min(old.length + young.length, MAX_DIFFERENCES);
  const offset = bound + 1;
  const reach = new Int32Array(2 * bound + 3);
  const history = [];
  for (let edits = 0; edits <= bound; edits++) {
    history.push(reach.slice(offset - edits - 1, offset + edits + 2));
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const isDown = diagonal === -edits || (diagonal !== edits && reach[offset + diagonal - 1] < reach[offset + diagonal + 1]);
      let x = isDown ? reach[offset + diagonal + 1] : reach[offset + diagonal - 1] + 1;
      let y = x - diagonal;
      while (x < old.length && y < young.length && old[x] === young[y]) [x, y] = [x + 1, y + 1];
      reach[offset + diagonal] = x;
      if (x >= old.length && y >= young.length) return walkBack(history, old.length, young.length);
    }
  }
  return [];
}

function walkBack(history, x, y) {
  const pairs = [];
  for (let edits = history.length - 1; edits >= 0; edits--) {
    const at = (diagonal) => history[edits][diagonal + edits + 1];
    const diagonal = x - y;
    const isDown = diagonal === -edits || (diagonal !== edits && at(diagonal - 1) < at(diagonal + 1));
    const before = isDown ? diagonal + 1 : diagonal - 1;
    const fromX = edits ? at(before) : 0;
    const fromY = edits ? fromX - before : 0;
    while (x > fromX && y > fromY && x > 0 && y > 0) pairs.push([--x, --y]);
    [x, y] = [fromX, fromY];
  }
  return pairs.reverse();
}
