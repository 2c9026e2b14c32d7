// Files that are dropped, and those of dropped folders.

/** Return the files that were dropped, and of folders those whose names are wanted, also in the folders in them. */
export async function dropped({ items }, isWanted) {
  // All of them are asked for at once: later the browser has forgotten them.
  const given = [...items].filter(({ kind }) => kind === 'file').map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
  return (await Promise.all(given.map(([entry, file]) => (entry?.isDirectory ? filesBelow(entry, isWanted) : file)))).flat();
}

async function filesBelow(folder, isWanted) {
  const [reader, entries] = [folder.createReader(), []];
  const some = () => new Promise((take, fail) => reader.readEntries(take, fail));
  // A browser gives a hundred at a time.
  for (let next = await some(); next.length; next = await some()) entries.push(...next);
  const files = entries
    .filter(({ name, isDirectory }) => !name.startsWith('.') && (isDirectory || isWanted(name)))
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    .map((entry) => (entry.isDirectory ? filesBelow(entry, isWanted) : new Promise((take, fail) => entry.file(take, fail))));
  return (await Promise.all(files)).flat();
}
