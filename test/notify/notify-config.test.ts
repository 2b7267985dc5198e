// What is set up: rules of targets and matchers, what is in the audit log, and that secrets are where nothing shows them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matcher } from './fixture.ts';
import { NotifyRig, WHO } from './rig.ts';
import { smtpConfig } from './targets/mail-server.ts';

test('targets are kept, changed and removed; passwords stand in nothing that is shown', (t) => {
  const rig = new NotifyRig(t);
  rig.config.addTarget(WHO, smtpConfig(25, { username: 'anna' }), { password: 's3cret' });
  assert.throws(() => rig.config.addTarget(WHO, smtpConfig(25), {}), { code: 'exists' });
  assert.deepEqual(rig.config.target('mail'), smtpConfig(25, { username: 'anna' }));
  assert.deepEqual(rig.config.secretNames('mail'), ['password']);
  rig.config.updateTarget(WHO, 'mail', (config, secrets) => ({ config: { ...config, comment: 'x' }, secrets }));
  assert.deepEqual(rig.store.secretsOf('mail'), { password: 's3cret' });
  assert.throws(
    () => rig.config.updateTarget(WHO, 'mail', (config) => ({ config: { ...config, comment: 'y' }, secrets: {} })),
    { code: 'bad-argument' },
  );
  assert.equal(rig.config.target('mail').comment, 'x', 'nothing is half done');
  assert.doesNotMatch(JSON.stringify([rig.config.targets(), rig.config.matchers(), rig.audit]), /s3cret/);
  assert.equal(rig.audit.length, 2);
  rig.config.removeTarget(WHO, 'mail');
  assert.deepEqual(rig.store.secretsOf('mail'), {});
  assert.throws(() => rig.config.target('mail'), { code: 'not-found' });
  assert.throws(() => rig.config.removeTarget(WHO, 'mail'), { code: 'not-found' });
});

test('there are at most 32 targets and 32 matchers', (t) => {
  const rig = new NotifyRig(t);
  for (let n = 0; n < 32; n++) rig.config.addTarget(WHO, smtpConfig(25, { name: `t${n}` }), {});
  assert.throws(() => rig.config.addTarget(WHO, smtpConfig(25, { name: 'more' }), {}), { code: 'too-many' });
  for (let n = 0; n < 32; n++) rig.config.addMatcher(WHO, matcher({ name: `m${n}`, targets: ['t1'] }));
  assert.throws(() => rig.config.addMatcher(WHO, matcher({ name: 'more', targets: [] })), { code: 'too-many' });
});

test('the matcher that is there by itself can be changed and comes back', (t) => {
  const rig = new NotifyRig(t);
  rig.config.addTarget(WHO, smtpConfig(25), {});
  const [builtin] = rig.config.matchers();
  assert.deepEqual([builtin?.name, builtin?.origin, builtin?.targets], ['default-matcher', 'builtin', ['mail']]);
  assert.throws(() => rig.config.removeMatcher(WHO, 'default-matcher'), { code: 'bad-argument' });
  rig.config.updateMatcher(WHO, 'default-matcher', (each) => ({ ...each, enabled: false }));
  assert.deepEqual(
    rig.config.matchers().map(({ origin, enabled }) => [origin, enabled]),
    [['modified-builtin', false]],
  );
  rig.config.removeMatcher(WHO, 'default-matcher');
  assert.equal(rig.config.matcher('default-matcher').origin, 'builtin');
});

test('the default matcher, switched off, keeps no target; one that was changed and is used does', (t) => {
  const rig = new NotifyRig(t);
  rig.config.addTarget(WHO, smtpConfig(25), {});
  rig.config.addTarget(WHO, smtpConfig(25, { name: 'other' }), {});
  const use = (enabled: boolean) => rig.config.updateMatcher(WHO, 'default-matcher', (each) => ({ ...each, enabled }));
  use(true);
  assert.throws(() => rig.config.removeTarget(WHO, 'mail'), { code: 'bad-argument', message: /default-matcher/ });
  use(false);
  rig.config.removeTarget(WHO, 'mail');
  assert.deepEqual(rig.config.matcher('default-matcher').targets, ['other']);
  rig.config.addMatcher(WHO, matcher({ name: 'mm', targets: ['other'] }));
  assert.throws(() => rig.config.removeTarget(WHO, 'other'), { code: 'bad-argument', message: /by: mm$/ });
});

test('matchers name targets that are there, and keep them there', (t) => {
  const rig = new NotifyRig(t);
  rig.config.addTarget(WHO, smtpConfig(25), {});
  assert.throws(() => rig.config.addMatcher(WHO, matcher({ name: 'mm', targets: ['other'] })), { code: 'not-found' });
  assert.throws(() => rig.config.addMatcher(WHO, matcher({ name: 'mm', severity: ['fatal'] })), {
    code: 'bad-argument',
  });
  assert.throws(() => rig.config.addMatcher(WHO, matcher({ name: 'x' })), { code: 'bad-name' });
  rig.config.addMatcher(WHO, matcher({ name: 'mm', field: ['exact:type=gc'], comment: 'c' }));
  assert.throws(() => rig.config.addMatcher(WHO, matcher({ name: 'mm' })), { code: 'exists' });
  assert.throws(() => rig.config.removeTarget(WHO, 'mail'), { code: 'bad-argument', message: /referenced by: mm/ });
  rig.config.removeMatcher(WHO, 'mm');
  rig.config.removeTarget(WHO, 'mail');
});
