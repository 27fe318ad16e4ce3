// Files and folders that somebody dropped or chose, as a flat list of `{file, path}`.

// What an operating system puts into folders for itself.
const LITTER = new Set(["thumbs.db", "desktop.ini"]);

/** Resolve to `{picked, hidden, unreadable, more}` of a drop; `more` says that there are over `most` files. */
export async function dropped(transfer, most) {
  // The list is emptied once the event is over, so the entries are taken out at once.
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry());
  const found = { picked: [], hidden: 0, unreadable: 0, more: false };
  for (const entry of entries) if (entry) await walk(entry, found, most);
  found.picked.sort(byPath);
  return found;
}

/** Return the same of an input for files or for a folder. */
export function chosen(files, most) {
  const all = [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  const shown = all.filter(({ path }) => !path.includes("/") || !isHidden(path)).sort(byPath);
  return { picked: shown.slice(0, most), hidden: all.length - shown.length, unreadable: 0, more: shown.length > most };
}

async function walk(entry, found, most) {
  const path = entry.fullPath.replace(/^\//, "");
  if (path.includes("/") && isHidden(path)) {
    found.hidden += 1;
    return;
  }
  try {
    if (entry.isDirectory) await walkFolder(entry, found, most);
    else if (found.picked.length >= most) found.more = true;
    else found.picked.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path });
  } catch {
    // The browser says no more than that it may not, or can no longer, read this one; the person is told how many.
    found.unreadable += 1;
  }
}

async function walkFolder(entry, found, most) {
  const reader = entry.createReader();
  for (;;) {
    // A folder is told in pieces of a hundred; an empty piece is its end.
    const piece = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!piece.length || found.more) return;
    for (const one of piece) await walk(one, found, most);
  }
}

function byPath(one, other) {
  return one.path.localeCompare(other.path, "en", { numeric: true });
}

function isHidden(path) {
  const name = path.split("/").pop();
  return path.split("/").some((part) => part.startsWith(".")) || LITTER.has(name.toLowerCase());
}
