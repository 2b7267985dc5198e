import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hash, verify } from '@node-rs/argon2';
import { type Argon2, Argon2Passwords, checkNewPassword } from '../../src/auth/passwords.ts';
import { withCode } from './access-fixture.ts';

/** Counts calls of the library, and how many run at once; may hold them back. */
class CountedArgon2 implements Argon2 {
  verified: string[] = [];
  running = 0;
  most = 0;
  hold: Promise<void> = Promise.resolve();

  hash: Argon2['hash'] = (password, cost) => hash(password, cost);
  verify: Argon2['verify'] = async (stored, password) => {
    this.verified.push(stored);
    this.most = Math.max(this.most, ++this.running);
    await this.hold;
    const isRight = await verify(stored, password);
    this.running--;
    return isRight;
  };
}

test('a stored password is argon2id with the costs of OWASP, salted, and lets in who has it alone', async () => {
  const passwords = new Argon2Passwords();
  const [one, two] = await Promise.all([passwords.hash('correct horse'), passwords.hash('correct horse')]);
  assert.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.notEqual(one, two);
  assert.ok(await passwords.verify(one, 'correct horse'));
  assert.ok(!(await passwords.verify(one, 'correct horse ')));
  assert.ok(!(await passwords.verify(one, '')));
});

test('an accent counts the same however a keyboard spells it', async () => {
  const passwords = new Argon2Passwords();
  assert.ok(await passwords.verify(await passwords.hash('caf\u00e9 au lait'), 'cafe\u0301 au lait'));
});

test('without a stored password the same work is done, and the answer is no', async () => {
  const argon2 = new CountedArgon2();
  const passwords = new Argon2Passwords(argon2);
  assert.ok(!(await passwords.verify(undefined, 'nobody has this password')));
  assert.ok(!(await passwords.verify(undefined, 'x'.repeat(5000))));
  const stored = await passwords.hash('correct horse');
  assert.ok(!(await passwords.verify(stored, 'x'.repeat(5000))));
  assert.ok(!(await passwords.verify(stored, '')));
  assert.equal(argon2.verified.length, 4);
  const costs = argon2.verified.map((each) => /^(.*)\$[^$]+\$[^$]+$/.exec(each)?.[1]);
  assert.equal(new Set(costs).size, 1, 'the same cost');
});

test('two run at once, 64 wait, more are turned away, and then all goes on', async () => {
  const argon2 = new CountedArgon2();
  const passwords = new Argon2Passwords(argon2);
  const stored = await passwords.hash('correct horse');
  await passwords.verify(undefined, 'x');
  let release = (): void => undefined;
  argon2.hold = new Promise((resolve) => {
    release = resolve;
  });
  const accepted = Array.from({ length: 66 }, () => passwords.verify(stored, 'correct horse'));
  await assert.rejects(passwords.verify(stored, 'correct horse'), withCode('login-throttled'));
  release();
  assert.ok((await Promise.all(accepted)).every(Boolean));
  assert.equal(argon2.most, 2);
  assert.ok(await passwords.verify(stored, 'correct horse'));
});

test('a failure of the library gives the place back', async () => {
  const argon2 = new CountedArgon2();
  argon2.hold = Promise.reject(new Error('no memory'));
  argon2.hold.catch(() => undefined);
  const passwords = new Argon2Passwords(argon2);
  const stored = await passwords.hash('correct horse');
  for (let round = 0; round < 5; round++) await assert.rejects(passwords.verify(stored, 'x'), /no memory/);
  argon2.hold = Promise.resolve();
  assert.ok(await passwords.verify(stored, 'correct horse'));
});

test('new passwords have 8 characters to 1,024 bytes, and are never repeated in the answer', () => {
  for (const good of ['12345678', 'é'.repeat(8), '🔑'.repeat(8), 'x'.repeat(1024), 'with spaces in it'])
    checkNewPassword(good);
  for (const bad of ['', '1234567', '🔑'.repeat(7), 'x'.repeat(1025), 'é'.repeat(513), 'secret\nword', 'secret\0word'])
    assert.throws(
      () => checkNewPassword(bad),
      (error: Error) => withCode('bad-argument')(error) && (bad === '' || !error.message.includes(bad)),
    );
});
