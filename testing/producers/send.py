"""Puts one task into a queue in each way that azure-storage-queue offers: send.py CONNECTION_STRING QUEUE"""

import json
import sys
from importlib.metadata import version

from azure.storage.queue import (
    BinaryBase64EncodePolicy,
    QueueClient,
    TextBase64EncodePolicy,
)

TASK = {
    "task_id": "py-1",
    "task_type": "document-processing",
    "payload": {"title": "Über <b>\"x\"</b> & 漢字 🚢", "cost": "$5 $(HOME) $$", "n": 1.0, "none": None},
    "webhook_url": "https://backend.example/hook?a=1&b=2",
}

connection, queue = sys.argv[1:3]


def client(**policy):
    return QueueClient.from_connection_string(connection, queue, **policy)


plain = client()
base64 = client(message_encode_policy=TextBase64EncodePolicy())
binary = client(message_encode_policy=BinaryBase64EncodePolicy())

sent = []


def send(how, through, text, content=None):
    through.send_message(text if content is None else content)
    sent.append({"how": how, "text": text})


send("str, json.dumps", plain, json.dumps(TASK))
send("str, json.dumps without ASCII escapes", plain, json.dumps(TASK, ensure_ascii=False))
send("str, json.dumps indented", plain, json.dumps(TASK, indent=2))
send("TextBase64EncodePolicy", base64, json.dumps(TASK))
send("TextBase64EncodePolicy without ASCII escapes", base64, json.dumps(TASK, ensure_ascii=False))
text = json.dumps(TASK, ensure_ascii=False)
send("BinaryBase64EncodePolicy", binary, text, text.encode("utf-8"))

print(json.dumps({"producer": "azure-storage-queue " + version("azure-storage-queue"), "sent": sent}))
