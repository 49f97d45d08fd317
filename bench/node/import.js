// The guide's scripts/import-to-firebase.js, repaired as little as it takes to move every row: a new
// batch after each commit, sessions with their user's uid from the file, time stamps that may be NULL.
// As in the guide: all rows in an array, batches of 500, one after the other, users before sessions.
//
//     node import.js users.csv user_sessions.csv
const fs = require('fs');
const csv = require('csv-parser');
const { Firestore, Timestamp } = require('@google-cloud/firestore');

const db = new Firestore({ projectId: process.env.FIRESTORE_PROJECT });

const boolean = (value) => value === 'true' || value === 't';

// JavaScript does not read every time stamp that PostgreSQL writes; one that it does not read is null.
const time = (value) => {
  const date = new Date(value);
  return value && !Number.isNaN(date.getTime()) ? Timestamp.fromDate(date) : null;
};

const user = (row) => ({
  firebase_uid: row.firebase_uid,
  email: row.email,
  first_name: row.first_name || '',
  last_name: row.last_name || '',
  phone_number: row.phone_number || '',
  status: row.status || 'active',
  last_login_at: time(row.last_login_at),
  login_count: parseInt(row.login_count) || 0,
  email_verified: boolean(row.email_verified),
  profile_completed: boolean(row.profile_completed),
  timezone: row.timezone || 'UTC',
  language: row.language || 'en',
  source: row.source || 'web',
  ip_address: row.ip_address || '',
  user_agent: row.user_agent || '',
  created_at: time(row.created_at),
  updated_at: time(row.updated_at),
  deleted_at: time(row.deleted_at),
});

const session = (row) => ({
  session_token: row.session_token,
  user_uid: row.user_uid,
  device_type: row.device_type || 'desktop',
  browser: row.browser || '',
  os: row.os || '',
  ip_address: row.ip_address || '',
  location_country: row.location_country || '',
  location_city: row.location_city || '',
  is_active: boolean(row.is_active),
  last_activity_at: time(row.last_activity_at),
  created_at: time(row.created_at),
  expires_at: time(row.expires_at),
});

function read(path, document) {
  return new Promise((resolve, reject) => {
    const documents = [];
    fs.createReadStream(path)
      .pipe(csv())
      .on('data', (row) => documents.push(document(row)))
      .on('end', () => resolve(documents))
      .on('error', reject);
  });
}

async function write(collection, id, documents) {
  let batch = db.batch();
  let count = 0;
  for (const document of documents) {
    batch.set(db.collection(collection).doc(document[id]), document);
    count++;
    // Firestore batch limit is 500
    if (count % 500 === 0) {
      await batch.commit();
      batch = db.batch();
    }
  }
  if (count % 500 !== 0) {
    await batch.commit();
  }
  console.log(`${collection} ${count}`);
}

async function main() {
  const [users, sessions] = process.argv.slice(2);
  await write('users', 'firebase_uid', await read(users, user));
  await write('user_sessions', 'session_token', await read(sessions, session));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error('Migration failed:', error);
    process.exit(1);
  },
);
