import assert from 'node:assert/strict';
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AllowedPlaces } from '../../../src/agent/service/allowed-places.ts';
import { withCode } from '../../auth/access-fixture.ts';
import { temporaryDirectory } from '../../datastore/fixture.ts';

function rig(t: TestContext) {
  const root = realpathSync(temporaryDirectory(t));
  const open = join(root, 'open');
  mkdirSync(join(open, 'below'), { recursive: true });
  mkdirSync(join(root, 'open-too'));
  mkdirSync(join(root, 'closed'));
  writeFileSync(join(root, 'closed', 'secret'), 'x');
  return { root, open, places: new AllowedPlaces('allowRestore', [open]) };
}

const refused = withCode('not-allowed', /allowRestore in its agent\.json names/);

test('what is at a place or below it is allowed, also when it is not there yet', async (t) => {
  const { open, places } = rig(t);
  for (const path of ['', '/below', '/below/new/deep', '/./below/../new']) {
    const expected = path === '/./below/../new' ? join(open, 'new') : join(open, path);
    assert.equal(await places.resolve(`${open}${path}`), expected);
  }
});

test('what is beside it, above it, or only looks like it is refused', async (t) => {
  const { root, open, places } = rig(t);
  for (const path of [root, '/', `${open}-too`, `${open}-too/x`, `${open}/../closed/secret`, `${open}x`, '/etc/passwd'])
    await assert.rejects(places.resolve(path), refused, path);
  await assert.rejects(places.resolve('open/below'), withCode('not-allowed', /no absolute path/));
});

test('links are followed before anything is decided, also those of directories on the way, and links to nothing are refused', async (t) => {
  const { root, open, places } = rig(t);
  symlinkSync(join(root, 'closed'), join(open, 'out'));
  symlinkSync(join(root, 'closed', 'secret'), join(open, 'file'));
  symlinkSync(join(root, 'closed', 'none'), join(open, 'dangling'));
  symlinkSync(join(open, 'below'), join(root, 'in'));
  for (const path of ['out', 'out/secret', 'out/new', 'file'])
    await assert.rejects(places.resolve(join(open, path)), refused, path);
  for (const path of ['dangling', 'dangling/x'])
    await assert.rejects(places.resolve(join(open, path)), withCode('not-allowed', /link to what is not there/));
  assert.equal(await places.resolve(join(root, 'in/new')), join(open, 'below/new'));
});

test('a place that is a link allows what it leads to, and no place allows nothing', async (t) => {
  const { root, open } = rig(t);
  symlinkSync(open, join(root, 'named'));
  const named = new AllowedPlaces('allowBackup', [join(root, 'named')]);
  assert.equal(await named.resolve(join(open, 'below')), join(open, 'below'));
  await assert.rejects(new AllowedPlaces('allowBackup', []).resolve(open), withCode('not-allowed', /names nothing/));
  const all = new AllowedPlaces('allowBackup', ['/']);
  assert.equal(all.allowsAll, true);
  assert.equal(await all.resolve(join(root, 'closed/secret')), join(root, 'closed/secret'));
});

test('below a file there is nothing to be allowed', async (t) => {
  const { root } = rig(t);
  const places = new AllowedPlaces('allowRestore', [join(root, 'closed')]);
  await assert.rejects(places.resolve(join(root, 'closed/secret/x')), withCode('not-allowed', /cannot be looked at/));
});
