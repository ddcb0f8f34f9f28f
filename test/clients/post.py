# Posts to argv[1] with requests and urllib3, each with its defaults, and prints the statuses.
import gzip, sys
import requests, urllib3

url = sys.argv[1]
big = [{"n": 1, "text": "x" * 300000}]
session = requests.Session()
statuses = [
    session.post(url, json=[{"n": 1}]).status_code,
    session.post(url, json=big).status_code,
    session.post(url, data=(b for b in [b'[{"n"', b":1}]"])).status_code,  # chunked
    session.post(url, data=gzip.compress(b'[{"n":1}]'), headers={"Content-Encoding": "gzip"}).status_code,
    session.post(url + "nope", json=big).status_code,
    session.post(url, json=[{"n": 1}]).status_code,
]
pool = urllib3.PoolManager()
statuses += [
    pool.request("POST", url, body=b'[{"n":1}]').status,
    pool.request("POST", url, body=b'{"n":1}\n{"n":2}\n', headers={"Content-Type": "application/x-ndjson"}).status,
]
print(*statuses)
