/** Deletes what workspaces have left on this device: files, and the outcomes of tool calls, which may show files. */

import { filesOf } from "./database.js";

// A workspace that no session has: of a session that was deleted elsewhere, or that is not among the newest here.
const UNUSED_MS = 86_400_000;

export async function deleteWorkspace(database, id) {
  await database?.change(["workspaces", "files", "calls"], ([workspaces, files, calls]) => {
    workspaces.delete(id);
    files.delete(filesOf(id));
    calls.openCursor().onsuccess = ({ target: { result: cursor } }) => {
      if (!cursor) return;
      if (cursor.value.workspace === id) cursor.delete();
      cursor.continue();
    };
  });
}

/** Delete the workspaces that have not been used for a day, and of which `isUnused(id)` is true. */
export async function deleteUnused(database, isUnused) {
  for (const { id, used } of (await database?.all("workspaces")) ?? []) {
    if (used < Date.now() - UNUSED_MS && isUnused(id)) await deleteWorkspace(database, id);
  }
}
