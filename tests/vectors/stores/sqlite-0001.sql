-- The rows of a store as version 1 wrote them; the script 0001 makes its tables.
DELETE FROM store;
INSERT INTO "accounts" VALUES('anna','payg','SE',1,'[]','SEK',5,0,5,0,0,0);
INSERT INTO "accounts" VALUES('bo','payg','SE',1,'[]','SEK',7,0,7,0,0,0);
INSERT INTO "books" VALUES('nordic',0,'SEK','Europe/Stockholm','f1','[book]
id = ''nordic''
');
INSERT INTO "charges" VALUES(1,X'1432714057E35BD2987499181193A11D','purchase','anna','tv','','svt1','channel','hd','family','nordic','premium',1772794800000,1772795400000,1772794800000,600000,600000,0,5000000,0,0,5000000,1000000,5000000,0,'SEK',1772794800000,'SE',0,20518,'[]');
INSERT INTO "charges" VALUES(2,X'539280085B995D168AFA1390665EB8E9','usage','anna','tv','s1','svt1','channel','hd','family','nordic','premium',1772794800000,1772795400000,1772794800000,600000,600000,0,5000000,0,0,5000000,1000000,5000000,0,'SEK',1772794800000,'SE',0,20518,'[]');
INSERT INTO "charges" VALUES(3,X'FA172B60EC99580CAED6F8A9B073F14D','usage','anna','tv','s2','svt1','channel','hd','family','nordic','premium',1772794800000,1772795400000,1772794800000,600000,600000,0,5000000,0,0,5000000,1000000,5000000,0,'SEK',1772794800000,'SE',0,20518,'[]');
INSERT INTO "charges" VALUES(4,X'DB4E7B2B162F539087C19AFDFF5AFE5B','usage','anna','tv','t','svt1','channel','hd','family','nordic','premium',1772794800000,1772795400000,1772794800000,600000,600000,0,5000000,0,0,5000000,1000000,5000000,0,'SEK',1772794800000,'SE',0,20518,'[]');
INSERT INTO "open_sessions" VALUES(0,5,'anna','tv','s','svt1','channel','',1,1,2,3,1);
INSERT INTO "orders" VALUES('anna','o1','cup-final','ppv','hd','nordic',1772794800000,99000000,'active',NULL);
INSERT INTO "partitions" VALUES(0,10,1772794800000,'{"records": 10, "applied": 9}',0);
INSERT INTO "partitions" VALUES(3,10,1772794800000,'{"records": 0}',0);
INSERT INTO "projections" VALUES('charges',3,X'6D61726B');
INSERT INTO "signals" VALUES(1,'balance.exhausted','bo',5,NULL,NULL);
INSERT INTO "sources" VALUES(0,'a.log',4,X'68656164',100,3,X'74616B656E');
INSERT INTO "state" VALUES(0,'delta',1,X'6431');
INSERT INTO "store" VALUES('c7546692e91ce27c94d838db393d4778');
INSERT INTO "suspense" VALUES(1,'malformed','no type',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'a.log:7',X'FF7B');
