// The units that are shipped, under a real systemd: a server and an agent that start, work, reload, are killed and stop as docs/operations.md
// says, with all that the units take away from them; with holdfast-guests.conf a guest, too.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { reasonForTools } from '../support/power-cut/scratch.ts';
import { Machine, skipMachine } from '../support/systemd/machine.ts';

const REPOSITORY = 'https://root@pam!cli@127.0.0.1:8007/main';
const UNITS = '/etc/systemd/system';

suite('the units under systemd', { skip: skipMachine(), timeout: 180_000 }, () => {
  let machine: Machine;
  /** What commands with `--repository` need. */
  let env: Record<string, string>;

  before(async () => {
    machine = await Machine.start();
    await machine.shell(`cp /usr/lib/holdfast/packaging/*.service ${UNITS}; echo '{}' > /etc/holdfast/server.json`);
    await machine.run('systemctl', 'daemon-reload');
  });
  after(async () => await machine?.end());

  /** Waits until a unit has logged what matches. */
  async function said(unit: string, pattern: RegExp, times = 1): Promise<void> {
    let text = '';
    for (let tries = 0; tries < 150; tries++) {
      text = await machine.journal(unit);
      if ((text.match(new RegExp(pattern, 'g')) ?? []).length >= times) return;
      await sleep(200);
    }
    assert.fail(`${unit} did not say ${pattern} ${times} times: ${text.slice(-3000)}`);
  }

  async function fingerprint(): Promise<string> {
    const line = await machine.shell('openssl x509 -in /var/lib/holdfast/server.crt -noout -fingerprint -sha256');
    return line.slice(line.indexOf('=') + 1);
  }

  test('systemd finds nothing wrong with them', async () => {
    const { code, words } = await machine.try(
      'systemd-analyze',
      'verify',
      'holdfast.service',
      'holdfast-agent.service',
    );
    assert.deepEqual([code, words], [0, '']);
    const table = await machine.run('systemd-analyze', 'security', '--no-pager', 'holdfast', 'holdfast-agent');
    const [server, agent] = ['holdfast', 'holdfast-agent'].map((name) =>
      Number(new RegExp(`^${name}\\.service +([0-9.]+)`, 'm').exec(table)?.[1]),
    ) as [number, number];
    assert.ok(server <= 2.5 && agent <= 6.6, table);
  });

  test('systemctl start returns when the server answers, and fails when it cannot start', async () => {
    await machine.shell(`echo '{"listen":"nonsense"}' > /etc/holdfast/server.json`);
    assert.notEqual((await machine.try('systemctl', 'start', 'holdfast')).code, 0);
    await machine.shell(`systemctl stop holdfast; systemctl reset-failed; echo '{}' > /etc/holdfast/server.json`);
    await machine.run('systemctl', 'start', 'holdfast');
    assert.equal(
      await machine.shell('curl -sk https://127.0.0.1:8007/health/ready -o /dev/null -w "%{http_code}"'),
      '200',
    );
    assert.equal(await machine.shell('stat -c "%a %U" /var/lib/holdfast /run/holdfast'), '700 root\n700 root');
  });

  test('a backup into /backup, and a command that reaches the server by its control socket', async () => {
    await machine.run('holdfast', 'server', 'add-datastore', 'main', '/backup/main');
    const made = await machine.run('holdfast', 'token', 'create', 'root@pam', 'cli', '--output-format', 'json');
    await machine.run('holdfast', 'acl', 'set', '/', 'Admin', '--auth-id', 'root@pam!cli');
    env = { HOLDFAST_TOKEN_SECRET: JSON.parse(made).value, HOLDFAST_FINGERPRINT: await fingerprint() };
    writeFileSync(join(machine.backup, 'disk'), randomBytes(20 * 1024 ** 2));
    await machine.shell(`holdfast backup d.img:/backup/disk --group host/disk --repository '${REPOSITORY}'`, env);
    await machine.shell(`holdfast restore host/disk/latest d.img /backup/again --repository '${REPOSITORY}'`, env);
    await machine.run('cmp', '/backup/disk', '/backup/again');
    await machine.run('holdfast', 'datastore', 'gc', '--repository', '/backup/main');
    assert.match(await machine.run('holdfast', 'datastore', 'verify', '--repository', '/backup/main'), /missing +0/);
  });

  test('a datastore elsewhere needs ReadWritePaths, and is opened with it', async () => {
    await machine.shell('mkdir -p /srv/store');
    const refused = await machine.try('holdfast', 'server', 'add-datastore', 'second', '/srv/store/second');
    const state = async (): Promise<string> =>
      await machine.shell(`curl -sk https://127.0.0.1:8007/metrics | grep 'datastore_open{datastore="second"' || true`);
    assert.equal(refused.code, 0, refused.words);
    await said('holdfast', /second.*cannot be opened.*the datastore is read-only/);
    await machine.shell(
      `mkdir -p ${UNITS}/holdfast.service.d; printf '[Service]\\nReadWritePaths=/srv/store\\n' > ${UNITS}/holdfast.service.d/override.conf
       systemctl daemon-reload; systemctl restart holdfast`,
    );
    for (let tries = 0; tries < 50 && !/1$/.test(await state()); tries++) await sleep(200);
    assert.match(await state(), /1$/);
  });

  test('an agent is enrolled, backs a directory up and restores it', async () => {
    await machine.run('holdfast', 'user', 'create', 'agents@local', '--no-password');
    await machine.run('holdfast', 'acl', 'set', '/datastore/main', 'DatastoreBackup', '--auth-id', 'agents@local');
    const made = JSON.parse(
      await machine.run('holdfast', 'node', 'add', 'web1', '--user', 'agents@local', '--output-format', 'json'),
    );
    const given = `--server 127.0.0.1 --node web1 --fingerprint ${made.fingerprint} --allow-guest-backup all`;
    await machine.shell(`holdfast agent enroll ${given} --secret-file - <<< '${made.secret}'`);
    await machine.run('systemctl', 'start', 'holdfast-agent');
    await said('holdfast-agent', /the agent is connected/);
    await machine.shell(`holdfast acl set /datastore/main DatastoreBackup --auth-id 'agents@local!agent-web1'`);
    await machine.shell(
      'mkdir -p /home/anna; cp -a /etc/systemd /home/anna/files; chown -R 1000:1000 /home/anna; chmod u+s /home/anna/files/system.conf',
    );
    await machine.shell(
      `holdfast node backup web1 root.tree:/home/anna --group host/web1 --repository '${REPOSITORY}'`,
      env,
    );
    const target = '/var/lib/holdfast-agent/restore/web1';
    await machine.shell(
      `holdfast node restore web1 host/web1/latest root.tree ${target} --repository '${REPOSITORY}'`,
      env,
    );
    await machine.run('diff', '-r', '/home/anna', target);
    assert.equal(await machine.run('stat', '-c', '%a %u', `${target}/files/system.conf`), '4644 1000');
  });

  test('both units reload: the server its certificate, the agent the fingerprint of that in agent.json', async () => {
    const before = await machine.show('holdfast-agent', 'MainPID');
    await machine.shell(
      'cd /var/lib/holdfast; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=new -addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.crt 2>/dev/null',
    );
    await machine.run('systemctl', 'reload', 'holdfast');
    await said('holdfast', /the certificate was read anew/);
    env.HOLDFAST_FINGERPRINT = await fingerprint();
    const digits = env.HOLDFAST_FINGERPRINT.replaceAll(':', '').toLowerCase();
    await machine.shell(
      `sed -i 's/"fingerprint": ".*"/"fingerprint": "${digits}"/' /var/lib/holdfast-agent/agent.json`,
    );
    await machine.run('systemctl', 'reload', 'holdfast-agent');
    await said('holdfast-agent', /the agent is connected/, 2);
    assert.equal(await machine.show('holdfast-agent', 'MainPID'), before);
    await machine.shell(
      `holdfast node backup web1 root.tree:/home/anna --group host/web1 --repository '${REPOSITORY}'`,
      env,
    );
  });

  test('killed, both are started again', async () => {
    for (const unit of ['holdfast', 'holdfast-agent']) {
      assert.equal(await machine.show(unit, 'ActiveState'), 'active');
      await machine.run('systemctl', 'kill', '--kill-whom=main', '--signal=KILL', unit);
    }
    await said('holdfast', /the server runs/, 3);
    await said('holdfast-agent', /the agent is connected/, 3);
    assert.equal(await machine.show('holdfast', 'NRestarts'), '1');
  });

  const guests = { skip: reasonForTools('qemu-system-x86_64', 'qemu-img') };
  test(
    'with holdfast-guests.conf guests start in scopes of their own, are backed up, and outlive the service',
    guests,
    async () => {
      await machine.shell(
        `cp /usr/lib/holdfast/packaging/holdfast-guests.conf ${UNITS}/holdfast.service.d/guests.conf`,
      );
      await machine.shell('systemctl daemon-reload; systemctl restart holdfast');
      await said('holdfast', /the agent is connected/);
      const create = 'holdfast vm create 7901 --memory 64 --kvm 0 --vga none --virtio0 local:0.0625,format=raw';
      await machine.shell(`${create}; ${create.replace('7901', '7902')}; holdfast vm start 7901`);
      const isRunning = async (): Promise<string> => await machine.show('holdfast-vm-7901.scope', 'ActiveState');
      assert.equal(await isRunning(), 'active');
      // The second with a storage daemon of the agent's own.
      for (const [node, vmid] of [
        ['localhost', 7901],
        ['web1', 7902],
      ])
        await machine.shell(`holdfast node backup ${node} --vm ${vmid} --repository '${REPOSITORY}'`, env);
      await machine.run('systemctl', 'stop', 'holdfast', 'holdfast-agent');
      assert.equal(await isRunning(), 'active');
      await machine.run('systemctl', 'start', 'holdfast');
      await machine.run('holdfast', 'vm', 'stop', '7901');
      assert.equal(await isRunning(), 'inactive');
    },
  );

  test('systemctl stop ends them cleanly, in time', async () => {
    await machine.run('systemctl', 'start', 'holdfast-agent');
    for (const unit of ['holdfast-agent', 'holdfast']) {
      await machine.run('systemctl', 'stop', unit);
      assert.equal(await machine.show(unit, 'Result'), 'success');
      assert.equal(await machine.show(unit, 'ExecMainStatus'), '0');
      await said(unit, /(agent|server) has stopped/);
    }
  });
});
