import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoginThrottle } from '../../src/auth/login-throttle.ts';
import type { HoldfastError } from '../../src/util/errors.ts';
import { ADDRESS, FakeClock, withCode } from './access-fixture.ts';

function setUp() {
  const clock = new FakeClock();
  const throttle = new LoginThrottle(clock.read);
  const fail = (user: string, address = ADDRESS, times = 1): void => {
    for (let round = 0; round < times; round++) throttle.admit(user, address).failed();
  };
  /** Seconds to wait, 0 for none. */
  const wait = (user: string, address = ADDRESS): number => {
    try {
      throttle.admit(user, address).dropped();
      return 0;
    } catch (error) {
      assert.ok(withCode('login-throttled', /try again in \d+ s/)(error));
      return (error as HoldfastError).data.retryAfterSeconds as number;
    }
  };
  return { clock, throttle, fail, wait };
}

test('after three failures that cost nothing each further one doubles the wait, up to a bound', () => {
  const { clock, fail, wait } = setUp();
  fail('anna', ADDRESS, 3);
  assert.equal(wait('anna'), 0);
  const waits: number[] = [];
  for (let round = 0; round < 12; round++) {
    fail('anna');
    waits.push(wait('anna'));
    clock.passSeconds(waits[round] - 1);
    assert.equal(wait('anna'), 1, 'a second too early');
    clock.passSeconds(1);
    assert.equal(wait('anna'), 0);
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
});

test('a user is held off from every address, but not for long, and from where it signed in not at all', () => {
  const { clock, throttle, fail, wait } = setUp();
  throttle.admit('anna', '198.51.100.1').succeeded();
  for (let host = 1; host < 30; host++) {
    fail('anna', `203.0.113.${host}`);
    clock.passSeconds(wait('anna', '203.0.113.200'));
  }
  fail('anna', '203.0.113.77');
  assert.equal(wait('anna', '203.0.113.201'), 30);
  assert.equal(wait('anna', '198.51.100.1'), 0);
  assert.equal(wait('bob', '203.0.113.201'), 0);
});

test('an address is held off for every user, and a success of another user changes nothing', () => {
  const { clock, throttle, fail, wait } = setUp();
  for (let round = 0; round < 4; round++) fail(`user-${round}`);
  assert.equal(wait('stranger'), 1);
  clock.passSeconds(1);
  throttle.admit('mallory', ADDRESS).succeeded();
  fail('anna');
  assert.equal(wait('bob'), 2, 'it goes on counting');
});

test('a success clears the failures of the user', () => {
  const { throttle, fail, wait } = setUp();
  for (let host = 1; host < 4; host++) fail('anna', `203.0.113.${host}`);
  throttle.admit('anna', '203.0.113.9').succeeded();
  for (let host = 1; host < 4; host++) fail('anna', `203.0.113.${host + 20}`);
  assert.equal(wait('anna', '203.0.113.50'), 0);
});

test('after a quarter of an hour all is forgotten', () => {
  const { clock, fail, wait } = setUp();
  fail('anna', ADDRESS, 4);
  clock.passSeconds(1);
  fail('anna');
  clock.passSeconds(15 * 60 + 1);
  fail('anna', ADDRESS, 3);
  assert.equal(wait('anna'), 0);
});

test('guesses at once are no way around it', () => {
  const { clock, throttle } = setUp();
  const first = Array.from({ length: 32 }, () => throttle.admit('anna', ADDRESS));
  assert.throws(() => throttle.admit('anna', ADDRESS), withCode('login-throttled'));
  for (const attempt of first) attempt.failed();
  clock.passSeconds(300);
  const one = throttle.admit('anna', ADDRESS);
  assert.throws(() => throttle.admit('anna', ADDRESS), withCode('login-throttled'), 'suspects come one by one');
  one.failed();
  one.succeeded();
  assert.throws(() => throttle.admit('anna', ADDRESS), withCode('login-throttled'), 'only the first answer counts');
});

test('a network of IPv6 is one address, and IPv4 in IPv6 is IPv4', () => {
  const { clock, fail, wait } = setUp();
  for (let host = 1; host < 5; host++) fail(`user-${host}`, `2001:db8:1:2::${host}`);
  assert.equal(wait('anna', '2001:0DB8:1:2:ffff:1:2:3'), 1);
  assert.equal(wait('anna', '2001:db8:1:3::1'), 0);
  clock.passSeconds(10);
  for (let host = 1; host < 5; host++) fail(`user-${host}`, '::ffff:203.0.113.5');
  assert.equal(wait('anna', '203.0.113.5'), 1);
});

test('memory is bounded, and what was used last stays', () => {
  const { fail, wait } = setUp();
  fail('anna', ADDRESS, 4);
  for (let index = 0; index < 4000; index++) fail(`user-${index}`, `2001:db8:${index.toString(16)}::1`);
  assert.equal(wait('anna'), 1);
  for (let index = 0; index < 8000; index++) fail(`other-${index}`, `2001:db9:${index.toString(16)}::1`);
  assert.equal(wait('anna'), 0, 'the oldest was dropped');
});
