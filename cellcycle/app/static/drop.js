// Files that are dropped, and those of dropped folders.

/** Return the files that were dropped, and of folders those that `isWanted`, also in the folders in them.
 *
 * What cannot be taken is told in `skipped`.
 */
export async function dropped({ items }, isWanted, skipped) {
  // All of them are asked for at once: later the browser has forgotten them.
  const given = [...items].filter(({ kind }) => kind === 'file').map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
  return (await Promise.all(given.map(([entry, file]) => (entry?.isDirectory ? filesBelow(entry, isWanted, skipped) : file)))).flat();
}

async function filesBelow(folder, isWanted, skipped) {
  if (/\.zarr$/i.test(folder.name)) {
    skipped.push(`${folder.name}: a folder of OME-Zarr is read by the command line alone: cellcycle predict`);
    return [];
  }
  const [reader, entries] = [folder.createReader(), []];
  const some = () => new Promise((take, fail) => reader.readEntries(take, fail));
  // A browser gives a hundred at a time.
  for (let next = await some(); next.length; next = await some()) entries.push(...next);
  const files = entries
    .filter(({ name, isDirectory }) => !name.startsWith('.') && (isDirectory || isWanted(name)))
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    .map((entry) => (entry.isDirectory ? filesBelow(entry, isWanted, skipped) : new Promise((take) => {
      entry.file(take, (error) => {
        skipped.push(`${entry.fullPath.slice(1)}: it cannot be read: ${error.message}`);
        take([]);
      });
    })));
  return (await Promise.all(files)).flat();
}
