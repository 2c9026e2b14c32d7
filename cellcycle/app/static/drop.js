// Dropped files, and those in dropped folders.

/** Return the dropped files, and those in dropped folders, at any depth, for which `isWanted`.
 *
 * Reasons for folders that cannot be read are appended to `skipped`.
 */
export async function dropped({ items }, isWanted, skipped) {
  // Get all of them at once, because the browser drops them after this event.
  const given = [...items].filter(({ kind }) => kind === 'file').map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
  return (await Promise.all(given.map(([entry, file]) => (entry?.isDirectory ? filesBelow(entry, isWanted, skipped) : file)))).flat();
}

async function filesBelow(folder, isWanted, skipped) {
  if (/\.zarr$/i.test(folder.name)) {
    skipped.push(`${folder.name}: OME-Zarr folders are read only by the command cellcycle predict`);
    return [];
  }
  const [reader, entries] = [folder.createReader(), []];
  const some = () => new Promise((take, fail) => reader.readEntries(take, fail));
  // A browser returns at most a hundred entries per call.
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
