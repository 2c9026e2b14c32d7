// The server's routes; every answer without success becomes an error with one sentence.

/** Return the first n bytes of a file as text; throw if the browser cannot read it. */
export async function beginning(file, n) {
  try {
    return await (file.size ? file.slice(0, n) : file).text(); // a part of an empty file can always be read, so read the file
  } catch {
    throw new Error('the browser cannot read it; was it moved or changed, or its drive removed?');
  }
}

async function asked(path, options = {}) {
  let answer;
  const { body } = options;
  // Else fetch would report a folder, or a file that is gone, as a lost connection.
  if (body instanceof File) await beginning(body, 1);
  try {
    answer = await fetch(path, { credentials: 'same-origin', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw Object.assign(new Error('the server does not answer; is the connection lost?'), { name: 'LostError' });
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(said.detail ?? `the server answered ${answer.status}`), { status: answer.status });
}

const json = async (path, options) => (await asked(path, options)).json();
const query = (given) => new URLSearchParams(Object.entries(given).filter(([, value]) => value !== '' && value != null));

export const visit = () => json('api/visit', { method: 'POST' });
export const nuclei = (id) => json(`api/images/${id}/nuclei.json`);
export const upload = (file, key, settings, signal) =>
  json(`api/images?${query({ ...settings, key, name: file.name })}`, { method: 'POST', body: file, signal });
export const call = (id, settings, signal) => json(`api/images/${id}/call?${query(settings)}`, { method: 'POST', signal });
export const together = (settings, signal) => json(`api/together?${query(settings)}`, { method: 'POST', signal });
export const plateMap = (table) => json('api/map', { method: 'POST', body: table });
export const dropMap = () => json('api/map', { method: 'DELETE', keepalive: true });
export const summary = (control) => json(`api/summary.json?${query({ control })}`);
/** Send labels of nuclei by number, "" to remove one; `found` is the hash of the nuclei that have these numbers. */
export const correct = (id, found, said) => {
  const body = JSON.stringify(said);
  // keepalive lets the request outlive the page; browsers refuse it for large bodies.
  return json(`api/images/${id}/corrections?${query({ found })}`, { method: 'PUT', body, keepalive: body.length < 60_000 });
};
export const again = (table) => json('api/corrections', { method: 'POST', body: table });
export const training = (method = 'GET') => json('api/training', { method });
export const file = async (path) => {
  const answer = await asked(path);
  const [, name] = answer.headers.get('content-disposition')?.match(/filename\*=utf-8''(.*)/) ?? [null, path.split('/').pop()];
  return new File([await answer.blob()], decodeURIComponent(name));
};
export const remove = (id) => json(`api/images/${id}`, { method: 'DELETE' });
export const forget = () => json('api/images', { method: 'DELETE' });
export const picture = async (path) => createImageBitmap(await (await asked(path)).blob());
export const viewOf = (id) => picture(`api/images/${id}/view.png`);
export const occlusionOf = (id, row) => picture(`api/images/${id}/occlusion/${row}.png`);
