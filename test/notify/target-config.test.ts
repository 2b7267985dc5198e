// What may be set for targets.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireSound, type WebhookConfig } from '../../src/notify/target-config.ts';
import { render, requireTemplate } from '../../src/notify/template.ts';
import { event } from './fixture.ts';
import { smtpConfig } from './targets/mail-server.ts';

const hook: WebhookConfig = {
  type: 'webhook',
  name: 'hook',
  enabled: true,
  url: 'https://example.com/x',
  method: 'post',
  headers: [],
  body: '',
};

test('mail targets take what a mail server can use, and nothing that injects', () => {
  requireSound(smtpConfig(25), {});
  requireSound(smtpConfig(25, { server: '[::1]', username: 'anna' }), { password: 'p' });
  for (const wrong of [
    { name: '-x' },
    { name: 'a' },
    { server: 'a b' },
    { server: '-x' },
    { port: 0 },
    { port: 70_000 },
    { mailto: [] },
    { mailto: ['a@b\r\nRCPT TO:<c@d>'] },
    { mailto: ['a@b>'] },
    { mailto: ['nobody'] },
    { mailto: Array.from({ length: 51 }, (_, n) => `u${n}@example.com`) },
    { fromAddress: 'x' },
    { author: 'a\nb' },
    { comment: 'c'.repeat(2000) },
    { username: 'without password' },
  ])
    assert.throws(() => requireSound(smtpConfig(25, wrong), {}), { name: 'HoldfastError' }, JSON.stringify(wrong));
  assert.throws(() => requireSound(smtpConfig(25), { password: 'without user' }), { code: 'bad-argument' });
  assert.throws(() => requireSound(smtpConfig(25, { username: 'u' }), { password: 'a\nb' }), { code: 'bad-argument' });
});

test('webhooks take no URL with a password, no header of the line, no body of a GET, no unknown name', () => {
  requireSound(hook, {});
  requireSound({ ...hook, url: '{{secrets.url}}' }, { url: 'x' });
  for (const wrong of [
    { url: 'ftp://example.com' },
    { url: 'https://u:p@example.com' },
    { url: 'https://example.com/\nx' },
    { url: '{{title}}' },
    { url: '{{secrets.other}}' },
    { headers: [{ name: 'Host', value: 'x' }] },
    { headers: [{ name: 'content-length', value: '1' }] },
    { headers: [{ name: 'a b', value: 'x' }] },
    { headers: [{ name: 'a', value: 'x\r\ny' }] },
    { method: 'get' as const, body: 'x' },
    { body: 'x'.repeat(20_000) },
    { body: '{{titel}}' },
    { body: '{{fields}}' },
    { body: '{{title}' + '} }}' },
    { body: '{{#each x}}' },
  ])
    assert.throws(() => requireSound({ ...hook, ...wrong }, {}), { name: 'HoldfastError' }, JSON.stringify(wrong));
});

test('a template cannot make more than a mebibyte, and finds nothing but fields', () => {
  const big = event({ text: 'x'.repeat(60_000) });
  assert.throws(() => render('{{message}}'.repeat(20), big, {}), { code: 'too-large' });
  assert.equal(render('{{fields.constructor}}{{secrets.constructor}}', event(), {}), '');
  assert.throws(() => requireTemplate('{{secrets.constructor}}', {}), { code: 'bad-argument' });
});
